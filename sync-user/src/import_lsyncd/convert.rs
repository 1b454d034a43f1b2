//! Turns values of Lua into data, within bounds: a table may contain itself.

use mlua::{Lua, Table as LuaTable, Value};

use super::data::{Data, Table};

/// How deep tables may stand in each other; lsyncd's own examples have three.
const DEPTH_MAX: usize = 16;

/// Values in all tables of one `sync{}` or `settings{}`: a list of excludes may be long.
const VALUES_MAX: usize = 100_000;

/// What `table` says.
pub(super) fn table(table: &LuaTable) -> mlua::Result<Table> {
    Converter { left: VALUES_MAX }.table(table, 0)
}

/// The line of the configuration that has called the function that asks.
pub(super) fn line_of(lua: &Lua) -> usize {
    let line = |caller: &mlua::debug::Debug<'_>| caller.current_line();
    lua.inspect_stack(1, line).flatten().unwrap_or(0)
}

struct Converter {
    /// How many values more there may be.
    left: usize,
}

impl Converter {
    fn table(&mut self, from: &LuaTable, depth: usize) -> mlua::Result<Table> {
        if depth == DEPTH_MAX {
            return Err(mlua::Error::runtime("a table contains itself, or is nested too deep"));
        }
        let (mut table, mut row) = (Table::default(), Vec::new());
        from.for_each(|name: Value, value: Value| {
            self.left = self
                .left
                .checked_sub(1)
                .ok_or_else(|| mlua::Error::runtime("a table has too many values"))?;
            let value = self.value(&value, depth)?;
            match name {
                Value::Integer(place) => row.push((place, value)),
                Value::String(name) => drop(table.named.insert(text(&name)?, value)),
                // lsyncd asks for no other names.
                _ => {}
            }
            Ok(())
        })?;
        row.sort_by_key(|(place, _)| *place);
        table.row = row.into_iter().map(|(_, value)| value).collect();
        Ok(table)
    }

    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<Data> {
        Ok(match value {
            Value::Boolean(is) => Data::Switch(*is),
            // Beyond 2^53 no setting of lsyncd makes sense.
            Value::Integer(number) => Data::Number(*number as f64),
            Value::Number(number) => Data::Number(*number),
            Value::String(value) => Data::Text(text(value)?),
            Value::Function(function) => Data::Function(function.info().line_defined.unwrap_or(0)),
            Value::Table(table) => Data::Table(self.table(table, depth + 1)?),
            other => {
                return Err(mlua::Error::runtime(format!(
                    "a {} is no value of a setting",
                    other.type_name()
                )));
            }
        })
    }
}

fn text(text: &mlua::LuaString) -> mlua::Result<String> {
    let read = text.to_str().map(|text| text.to_owned());
    read.map_err(|_not_utf8| {
        mlua::Error::runtime(format!("the text {:?} is not UTF-8", text.to_string_lossy()))
    })
}
