#!/bin/sh
# Follows docs/install.md from the package to a running replication: first_day.sh WEB1 WEB2
#
# WEB1 and WEB2 are the roots of two small Debians; in WEB1 is /root/first-day with the commands of
# the guide, and the package. The caller gives it a network, mounts and processes of its own: so
# port 22 is free, and all of it ends with this script.
set -eu
web1=$1
web2=$2
in1() { chroot "$web1" env -i HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SSH_ASKPASS=/root/password SSH_ASKPASS_REQUIRE=force "$@"; }

ip link set lo up
for root in "$web1" "$web2"; do
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
done

# The server that gets the files: a user that may write the directory, and an SSH server.
chroot "$web2" useradd --create-home --shell /bin/sh deploy
echo deploy:sesame | chroot "$web2" chpasswd
mkdir -p "$web2/var/www" "$web2/run/sshd"
chroot "$web2" chown deploy /var/www
# Without PAM, which asks for more of a system than there is here.
chroot "$web2" /usr/sbin/sshd -o UsePAM=no -o PasswordAuthentication=yes

# The server that has them. The person types a password once.
echo '127.0.0.1 localhost web2.example.net' > "$web1/etc/hosts"
printf '#!/bin/sh\necho sesame\n' > "$web1/root/password"
chmod 755 "$web1/root/password"
mkdir -p "$web1/var/www/news"
echo first > "$web1/var/www/news/index.html"

# No systemd runs here. What stands in for it starts what the unit says as the unit says it: with
# its capabilities and directories, and without a home directory in the environment.
cat > "$web1/usr/local/bin/systemctl" <<'SYSTEMCTL'
#!/bin/sh
set -eu
[ "$*" = "enable --now ksyncd" ] || { echo "systemctl: what is $*?" >&2; exit 1; }
unit=/usr/lib/systemd/system/ksyncd.service
may=$(sed -n 's/^CapabilityBoundingSet=//p' $unit | tr A-Z a-z | sed 's/cap_/+/g; s/ /,/g')
mkdir -p /run/ksyncd /var/lib/ksyncd
exec 0</dev/null 1>/var/log/ksyncd.log 2>&1
env -i PATH=/usr/sbin:/usr/bin RUNTIME_DIRECTORY=/run/ksyncd STATE_DIRECTORY=/var/lib/ksyncd \
    setpriv --no-new-privs --bounding-set "-all,$may" $(sed -n 's/^ExecStart=//p' $unit) &
SYSTEMCTL
chmod 755 "$web1/usr/local/bin/systemctl"

in1 sh -euxc 'cd /root && . ./first-day'

# Done when a page that was there before has arrived, and one that is written now does.
arrived() {
    tries=0
    until in1 ksyncd wait --timeout 10s; do
        tries=$((tries + 1))
        [ $tries -lt 12 ] || { cat "$web1/var/log/ksyncd.log" >&2; exit 1; }
        sleep 1
    done
    cmp "$web1/var/www/news/index.html" "$web2/var/www/news/index.html"
}
arrived
echo second > "$web1/var/www/news/index.html"
arrived
in1 ksyncd status
