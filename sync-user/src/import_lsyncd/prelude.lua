-- What an lsyncd.conf finds when it is imported, besides sync and settings.

local function nothing() end

local function refuse(name, why)
	return function() error(name .. " is not there when the file is imported: " .. why, 2) end
end

local function closed(name, why)
	return setmetatable({}, {
		__index = function(_, what) error(name .. "." .. tostring(what) .. " is not there when the file is imported: " .. why, 2) end,
	})
end

local alone = "it is run without access to the system; write what that gives into a copy of the file, and import the copy"
local running = "only a running lsyncd has it"

default = {
	rsync = { _kind = "rsync", rsync = {}, exitcodes = {} },
	rsyncssh = { _kind = "rsyncssh", rsync = {}, ssh = { options = {} }, exitcodes = {} },
	direct = { _kind = "direct", rsync = {}, exitcodes = {} },
}

function tunnel(options) return options end

-- Messages of the file's own are for lsyncd's log.
log, print, alarm = nothing, nothing, nothing
function now() return 0 end

os, io, debug, coroutine = closed("os", alone), closed("io", alone), closed("debug", alone), closed("coroutine", running)
require, dofile, loadfile = refuse("require", alone), refuse("dofile", alone), refuse("loadfile", alone)
load, loadstring, collectgarbage = refuse("load", alone), refuse("loadstring", alone), nothing
package = { path = "", cpath = "" }
spawn, spawnShell, terminate = refuse("spawn", running), refuse("spawnShell", running), refuse("terminate", running)
observefd, nonobservefd, readdir = refuse("observefd", running), refuse("nonobservefd", running), refuse("readdir", alone)
string.dump = refuse("string.dump", alone)
