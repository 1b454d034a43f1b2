//! Reads the list of attributes behind `--preserve`.

use crate::model::Preserve;

/// The attributes that `list` names, with commas between.
pub(super) fn preserve(list: &str) -> Result<Preserve, String> {
    let mut preserve = Preserve::NONE;
    for word in list.split(',').map(str::trim) {
        match word {
            "owner" => preserve.owner = true,
            "group" => preserve.group = true,
            "xattrs" => preserve.xattrs = true,
            "acls" => preserve.acls = true,
            "links" => preserve.links = true,
            "directory-times" => preserve.directory_times = true,
            // They are kept in any case: by the time both ends know each other's versions.
            "mode" | "times" => {}
            "none" if list.trim() == "none" => {}
            _ => {
                return Err(format!(
                    "{word:?} is none of owner, group, xattrs, acls, links, directory-times; or none alone"
                ));
            }
        }
    }
    Ok(preserve)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_order() {
        assert_eq!(preserve("owner,group,xattrs,acls,links,directory-times"), Ok(Preserve::ALL));
        assert_eq!(
            preserve("times, acls,mode"),
            Ok(Preserve { acls: true, ..Preserve::NONE }),
            "times and mode are always kept"
        );
        assert_eq!(preserve("none"), Ok(Preserve::NONE));
        for bad in ["", "owners", "owner,", "owner,none", "all"] {
            assert!(preserve(bad).is_err(), "{bad}");
        }
    }
}
