//! Runs an lsyncd.conf, which is a Lua program, and keeps what it declares.
//!
//! It gets tables, strings and mathematics, and nothing of the system: no files, no programs, no
//! environment. Its memory and instructions are bounded, and so is its time, since a single call
//! of a string function may take for ever without any instruction.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use mlua::chunk::ChunkMode;
use mlua::{HookTriggers, Lua, LuaOptions, StdLib, Table as LuaTable, VmState};

use super::convert::{self, line_of};
use super::data::Table;
use super::error::ImportError;

/// Bytes that a configuration may take while it runs; one with a thousand targets takes less
/// than one MiB.
const MEMORY_MAX: usize = 64 << 20;

/// Instructions that it may take; one with a thousand targets takes some ten thousand.
const INSTRUCTIONS_MAX: u32 = 50_000_000;

/// How many of them pass between two looks at the count.
const INSTRUCTIONS_STEP: u32 = 10_000;

/// Longer than that many instructions take on a slow machine.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The name of the program in Lua's messages.
const CHUNK: &str = "lsyncd.conf";

/// What lsyncd offers to its configurations, and what is not there: in Lua, so that an error
/// names the line that asked for it.
const PRELUDE: &str = include_str!("prelude.lua");

/// What a configuration declares.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Declared {
    /// `settings`, and the line that it stands on, if that can be told.
    pub(super) settings: (Table, usize),
    /// Each `sync{}` with its line and all of its layers.
    pub(super) syncs: Vec<(Table, usize)>,
}

/// Runs `program`.
pub(super) fn run(program: &[u8]) -> Result<Declared, ImportError> {
    run_within(program, TIME_MAX)
}

fn run_within(program: &[u8], time: Duration) -> Result<Declared, ImportError> {
    let program = without_first_line_of_shells(program);
    let (answer, answered) = sync_channel(1);
    let work = move || {
        // Nobody waits any more when the time is over.
        let _late = answer.send(run_here(&program));
    };
    let thread = thread::Builder::new().name("lsyncd.conf".to_owned()).spawn(work);
    thread.map_err(ImportError::Thread)?;
    match answered.recv_timeout(time) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(ImportError::Time(time)),
        Err(RecvTimeoutError::Disconnected) => {
            Err(ImportError::Lua { line: 0, what: "it has panicked".to_owned() })
        }
    }
}

/// A first line that begins with `#` is one for a shell; the others keep their numbers.
fn without_first_line_of_shells(program: &[u8]) -> Vec<u8> {
    let program = program.strip_prefix(b"\xef\xbb\xbf").unwrap_or(program);
    match program.first() {
        Some(b'#') => program.iter().copied().skip_while(|byte| *byte != b'\n').collect(),
        _ => program.to_vec(),
    }
}

fn run_here(program: &[u8]) -> Result<Declared, ImportError> {
    let spent = Rc::new(RefCell::new(0_u32));
    let declared = Rc::new(RefCell::new(Declared::default()));
    let run = || {
        let lua = machine(&declared, &spent)?;
        let settings: LuaTable = lua.globals().get("settings")?;
        lua.load(program).set_mode(ChunkMode::Text).set_name(format!("={CHUNK}")).exec()?;
        // The old form puts another table in its place.
        let now: mlua::Value = lua.globals().get("settings")?;
        if let mlua::Value::Table(now) = now {
            let mut table = convert::table(&now)?;
            if now != settings {
                table.inherit(&convert::table(&settings)?);
            }
            declared.borrow_mut().settings.0 = table;
        }
        Ok(())
    };
    match run() {
        Ok(()) => Ok(declared.take()),
        Err(_) if *spent.borrow() >= INSTRUCTIONS_MAX => Err(ImportError::Instructions(INSTRUCTIONS_MAX)),
        Err(error) => Err(told(&error)),
    }
}

/// Lua with all that a configuration finds there.
fn machine(declared: &Rc<RefCell<Declared>>, spent: &Rc<RefCell<u32>>) -> mlua::Result<Lua> {
    let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::UTF8, LuaOptions::new())?;
    lua.set_memory_limit(MEMORY_MAX)?;
    let globals = lua.globals();
    let of_sync = Rc::clone(declared);
    let sync = lua.create_function(move |lua, layers: mlua::Value| {
        let line = line_of(lua);
        let mut whole = Table::default();
        whole.inherit(&given(line, "sync", &layers)?);
        of_sync.borrow_mut().syncs.push((whole, line));
        lua.create_table()
    })?;
    globals.set("sync", sync)?;
    let of_settings = Rc::clone(declared);
    let set = lua.create_function(move |lua, (settings, values): (LuaTable, mlua::Value)| {
        let line = line_of(lua);
        given(line, "settings", &values)?;
        of_settings.borrow_mut().settings.1 = line;
        let mlua::Value::Table(values) = values else { return Ok(()) };
        values.for_each(|name: mlua::Value, value: mlua::Value| settings.raw_set(name, value))
    })?;
    let (settings, called) = (lua.create_table()?, lua.create_table()?);
    called.set("__call", set)?;
    settings.set_metatable(Some(called))?;
    globals.set("settings", settings)?;
    lua.load(PRELUDE).set_name("=prelude").exec()?;
    let spent = Rc::clone(spent);
    lua.set_hook(HookTriggers::new().every_nth_instruction(INSTRUCTIONS_STEP), move |_, _| {
        *spent.borrow_mut() += INSTRUCTIONS_STEP;
        if *spent.borrow() >= INSTRUCTIONS_MAX {
            return Err(mlua::Error::runtime("it takes too long"));
        }
        Ok(VmState::Continue)
    })?;
    Ok(lua)
}

/// The table that `name` was given on `line`. Errors are placed there, as Lua places its own.
fn given(line: usize, name: &str, value: &mlua::Value) -> mlua::Result<Table> {
    let placed = |what: &str| mlua::Error::runtime(format!("{CHUNK}:{line}: {what}"));
    match value {
        mlua::Value::Table(table) => convert::table(table).map_err(|error| match error {
            mlua::Error::RuntimeError(what) => placed(&what),
            other => other,
        }),
        _ => Err(placed(&format!("{name} takes a table: {name}{{ … }}"))),
    }
}

/// Lua's message without what people cannot use: the trace, and the program's name.
fn told(error: &mlua::Error) -> ImportError {
    let message = match error {
        mlua::Error::CallbackError { cause, .. } => return told(cause),
        mlua::Error::MemoryError(_) => return ImportError::Memory(MEMORY_MAX),
        mlua::Error::SyntaxError { message, .. } | mlua::Error::RuntimeError(message) => message.clone(),
        other => other.to_string(),
    };
    let first = message.lines().next().unwrap_or_default();
    let placed = first.strip_prefix(CHUNK).and_then(|rest| rest.strip_prefix(':'));
    let placed = placed.and_then(|rest| rest.split_once(": "));
    match placed.map(|(line, what)| (line.parse(), what)) {
        Some((Ok(line), what)) => ImportError::Lua { line, what: what.to_owned() },
        _ => ImportError::Lua { line: 0, what: first.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import_lsyncd::data::Data;

    fn refused(program: &str) -> String {
        let error = run(program.as_bytes()).unwrap_err();
        let line = error.line().map(|line| format!("{line}: ")).unwrap_or_default();
        format!("{line}{error}")
    }

    #[test]
    fn variables_loops_and_layers_are_evaluated() {
        let program = "#!/usr/bin/lsyncd
            local common = { default.rsync, delay = 1 }
            for number = 2, 3 do
                sync{ common, source = '/srv', target = ('web%d:/srv'):format(number) }
            end
            settings.pidfile = '/run/lsyncd.pid'";
        let declared = run(program.as_bytes()).unwrap();
        let targets: Vec<_> =
            declared.syncs.iter().map(|(sync, line)| (sync.named["target"].word(), *line)).collect();
        assert_eq!(targets, [(Some("web2:/srv".to_owned()), 4), (Some("web3:/srv".to_owned()), 4)]);
        let sync = &declared.syncs[0].0.named;
        assert_eq!((&sync["delay"], &sync["_kind"]), (&Data::Number(1.0), &Data::Text("rsync".to_owned())));
        assert_eq!(declared.settings.0.named["pidfile"], Data::Text("/run/lsyncd.pid".to_owned()));
    }

    #[test]
    fn nothing_of_the_system_is_there() {
        for (program, name) in [
            ("\nlocal home = os.getenv('HOME')", "os.getenv"),
            ("\nio.open('/etc/passwd')", "io.open"),
            ("\nrequire('socket')", "require"),
            ("\ndofile('/etc/lsyncd/more.lua')", "dofile"),
            ("\nload('return 1')()", "load"),
            ("\nstring.dump(function() end)", "string.dump"),
            ("\ndebug.getinfo(1)", "debug.getinfo"),
            ("\ncoroutine.create(print)", "coroutine.create"),
            ("\nspawn()", "spawn"),
        ] {
            let message = refused(program);
            assert!(
                message.starts_with(&format!("2: {name} is not there when the file is imported")),
                "{message}"
            );
        }
        assert_eq!(refused("\u{1b}Lua"), "attempt to load a binary chunk (mode is 't')");
    }

    #[test]
    fn whatever_does_not_end_is_ended() {
        let ends = |program: &str| run(program.as_bytes()).unwrap_err();
        assert!(matches!(ends("while true do end"), ImportError::Instructions(_)));
        assert!(matches!(
            ends("local t = {} while true do t[#t + 1] = ('x'):rep(1e6) end"),
            ImportError::Memory(_)
        ));
        let nested = "local t = {} t.t = t sync{ t }";
        assert_eq!(refused(nested), "1: a table contains itself, or is nested too deep");
        // One call that takes some seconds, and no instruction.
        let slow = "('a'):rep(300):find(('.-'):rep(4) .. 'b')";
        let error = run_within(slow.as_bytes(), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, ImportError::Time(_)), "{error}");
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        assert_eq!(
            refused("sync{ default.rsync,\n source = '/a'\n target = 'b' }"),
            "3: '}' expected (to close '{' at line 1) near 'target'"
        );
        assert_eq!(refused("\nsync(3)"), "2: sync takes a table: sync{ … }");
        assert_eq!(refused("local x\nx.y = 1"), "2: attempt to index a nil value (local 'x')");
        assert_eq!(refused("\n\nerror('no hosts')"), "3: no hosts");
    }
}
