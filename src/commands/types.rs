//! Types: the attributes that were sent, the types that their values have, and those that a person set.

use std::io::Write;

use serde::Serialize;

use super::{Context, Failure, accounts};
use crate::clock;
use crate::model::DataType;
use crate::model::overrides::{AttributeName, Kind};
use crate::query::types::{self, AttributeType};
use crate::query::{READ_ROWS_MAX, Stop};
use crate::store::Draft;

pub(super) fn list(
    context: &Context<'_>,
    account: Option<&str>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let account = accounts::named(context, account)?.id;
    let found = types::all(context.store, account, &Stop::new(READ_ROWS_MAX, &|| false))?;
    if json {
        serde_json::to_writer(&mut *out, &found).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    for (number, row) in found.types.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        write(row, out)?;
    }
    Ok(())
}

/// Sets a type, or takes it back if `to` names none, and shows the attribute as it is then.
pub(super) fn set(
    context: &Context<'_>,
    account: Option<&str>,
    (kind, attribute): (&str, &str),
    to: Option<&str>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let account = accounts::named(context, account)?.id;
    let kind: Kind = kind.parse().map_err(refused)?;
    let to: Option<DataType> = to.map(str::parse).transpose().map_err(refused)?;
    let name = AttributeName::new(attribute).map_err(refused)?;
    let is_set = context.store.overrides(account).get(&kind, attribute).is_some();
    if to.is_none() && !is_set {
        return Err(Failure::Refused(format!("no type is set for {attribute:?} of {kind}")));
    }
    let row = types::one(
        context.store,
        account,
        &kind,
        attribute,
        to,
        &Stop::new(READ_ROWS_MAX, &|| false),
    )?;
    let draft = Draft::data_type(account, kind, name, to, clock::now());
    context.writer.submit_and_wait(vec![draft])?;
    if json {
        serde_json::to_writer(&mut *out, &row).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    write(&row, out)
}

fn refused(error: impl std::error::Error) -> Failure {
    Failure::Refused(error.to_string())
}

/// As `key=value` lines. A kind and a name are JSON strings there: they may hold line breaks.
fn write(row: &AttributeType, out: &mut dyn Write) -> Result<(), Failure> {
    let AttributeType { kind, attribute, values, recognised, r#type, r#override } = row;
    let name = |of: &Option<DataType>| of.map_or("-", DataType::name);
    writeln!(out, "kind={}\nattribute={}", json(kind)?, json(attribute)?)?;
    writeln!(out, "type={}\noverride={}\nvalues={values}", name(r#type), name(r#override))?;
    for (data_type, count) in recognised {
        writeln!(out, "{data_type}={count}")?;
    }
    Ok(())
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string(value).map_err(std::io::Error::from)?)
}
