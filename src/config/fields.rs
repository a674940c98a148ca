//! Reads a TOML table key by key, and knows afterwards what nobody asked for.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    problem::{Reported, Reports},
    suggest::suggest,
};

/// A table while it is read.
pub(super) struct Fields<'a, 'i> {
    pub(super) reports: &'a Reports<'i>,
    table: &'a DeTable<'i>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'a, 'i> Fields<'a, 'i> {
    /// Lets `read` ask for all keys it knows (ask first, fail after), then reports all others.
    pub(super) fn read<R>(
        reports: &'a Reports<'i>,
        table: &'a DeTable<'i>,
        span: Range<usize>,
        read: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let mut fields = Self { reports, table, span, asked: Vec::new() };
        let result = read(&mut fields);
        for key in table.keys().filter(|key| !fields.asked.contains(&key.get_ref().as_ref())) {
            let hint = suggest(key.get_ref(), &fields.asked);
            reports.wrong(&key.span(), format_args!("unknown key `{}`; {hint}", key.get_ref()));
        }
        result
    }

    /// The value of a key that must be there.
    pub(super) fn required<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Result<Spanned<T>, Reported> {
        self.optional(key)?.ok_or_else(|| self.missing(key))
    }

    /// The value of a key that may be left out.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Spanned<T>>, Reported> {
        self.value(key).map(|value| self.parse(key, value)).transpose()
    }

    /// The values of an array that may be left out; it is as good as empty then.
    pub(super) fn list<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<T>, Reported> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.mistyped(key, value, "an array"));
        };
        let values: Vec<_> = array.iter().map(|value| self.parse(key, value)).collect();
        values.into_iter().map(|value| value.map(Spanned::into_inner)).collect()
    }

    /// Puts the value, when there is a good one, in place of a default.
    pub(super) fn replace<T: DeserializeOwned + Into<U>, U>(
        &mut self,
        key: &'static str,
        default: &mut U,
    ) {
        if let Ok(Some(value)) = self.optional::<T>(key) {
            *default = value.into_inner().into();
        }
    }

    /// Reads the table of a key that may be left out.
    pub(super) fn table<R>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Fields<'a, 'i>) -> R,
    ) -> Result<Option<R>, Reported> {
        let Some(value) = self.value(key) else { return Ok(None) };
        self.nested(key, value, read).map(Some)
    }

    /// Reads the table of a key that must be there.
    pub(super) fn required_table<R>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Fields<'a, 'i>) -> Result<R, Reported>,
    ) -> Result<R, Reported> {
        self.table(key, read)?.unwrap_or_else(|| Err(self.missing(key)))
    }

    /// Reads each table of an array of tables that may be left out.
    pub(super) fn tables<R>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Fields<'a, 'i>) -> Result<R, Reported>,
    ) -> Result<Option<Vec<R>>, Reported> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.mistyped(key, value, &format!("tables `[[{key}]]`")));
        };
        let tables: Vec<_> = array
            .iter()
            .map(|value| self.nested(key, value, &mut read).and_then(|read| read))
            .collect();
        tables.into_iter().collect::<Result<_, _>>().map(Some)
    }

    /// The same where there must be one; an empty array is as good as none.
    pub(super) fn required_tables<R>(
        &mut self,
        key: &'static str,
        read: impl FnMut(&mut Fields<'a, 'i>) -> Result<R, Reported>,
    ) -> Result<Vec<R>, Reported> {
        match self.tables(key, read)? {
            Some(tables) if !tables.is_empty() => Ok(tables),
            _ => {
                let message = format!("there is no `[[{key}]]`; add at least one");
                Err(self.reports.missing(&self.span, message))
            }
        }
    }

    /// Whether the value of the key is a string.
    pub(super) fn is_string(&mut self, key: &'static str) -> bool {
        self.value(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// Reports a key that must be there and is not.
    pub(super) fn missing(&self, key: &str) -> Reported {
        self.reports.missing(&self.span, format_args!("missing key `{key}`; add it here"))
    }

    /// Reports a key that may be known elsewhere, but has no place here.
    pub(super) fn misplaced(&self, key: &str, why: &str) -> Reported {
        let at = self.table.get_key_value(key).map_or(self.span.clone(), |(key, _)| key.span());
        self.reports.wrong(&at, format_args!("`{key}` {why}"))
    }

    /// Reports a key, if it is there, that has its place beside TLS only.
    pub(super) fn needs_tls(&self, key: &str) {
        if self.table.contains_key(key) {
            let message = "is for TLS only; remove it, or set `encryption` to `Tls` or `StartTls`";
            self.misplaced(key, message);
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table.get(key)
    }

    fn parse<T: DeserializeOwned>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'i>>,
    ) -> Result<Spanned<T>, Reported> {
        T::deserialize(ValueDeserializer::from(value.clone()))
            .map(|parsed| Spanned::new(value.span(), parsed))
            .map_err(|error| {
                let at = error.span().unwrap_or_else(|| value.span());
                self.reports.wrong(&at, format_args!("`{key}`: {}", error.message()))
            })
    }

    fn nested<R>(
        &self,
        key: &str,
        value: &'a Spanned<DeValue<'i>>,
        read: impl FnOnce(&mut Fields<'a, 'i>) -> R,
    ) -> Result<R, Reported> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(Fields::read(self.reports, table, value.span(), read)),
            _ => Err(self.mistyped(key, value, "a table")),
        }
    }

    fn mistyped(&self, key: &str, value: &Spanned<DeValue<'i>>, expected: &str) -> Reported {
        let found = value.get_ref().type_str();
        self.reports
            .wrong(&value.span(), format_args!("`{key}`: found {found}, expected {expected}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read<R>(
        text: &str,
        read: impl FnOnce(&mut Fields<'_, '_>) -> Result<R, Reported>,
    ) -> Result<R, String> {
        let root = DeTable::parse(text).unwrap();
        let reports = Reports::new(text);
        let result = Fields::read(&reports, root.get_ref(), root.span(), read);
        reports.finish(Path::new("f"), result).map_err(|problems| problems.to_string())
    }

    #[test]
    fn values_come_typed() {
        let got = read("a = 1\nb = 'x'", |fields| {
            let (a, b, c) = (fields.required("a"), fields.required("b"), fields.optional("c"));
            let c: Option<Spanned<bool>> = c?;
            Ok((a?.into_inner(), b?.into_inner(), c.is_some()))
        });
        assert_eq!(got, Ok((1_u8, "x".to_owned(), false)));
    }

    #[test]
    fn every_problem_is_reported_where_it_is() {
        let got =
            read("nam = 'x'\nflag = 3\n[sub]\nlost = 1\n[[list]]\n[[list]]\na = 1", |fields| {
                let name = fields.required::<String>("name");
                let flag = fields.optional::<bool>("flag");
                let sub = fields.table("sub", |_| ());
                let list =
                    fields.required_tables("list", |sub| sub.required::<u8>("a").map(|_| ()));
                Ok((name?, flag?, sub?, list?)).map(|_| ())
            });
        let expected = "\
            f:1:1: missing key `name`; add it here\n\
            f:1:1: unknown key `nam`; did you mean `name`?\n\
            f:2:8: `flag`: invalid type: integer `3`, expected a boolean\n\
            f:4:1: unknown key `lost`; no key is known here\n\
            f:5:1: missing key `a`; add it here";
        assert_eq!(got, Err(expected.to_owned()));
    }

    #[test]
    fn tables_must_be_tables() {
        let got = read("a = 1\n[b]", |fields| {
            let a = fields.required_table("a", |_| Ok(()));
            let b = fields.required_tables("b", |_| Ok(()));
            a.and(b)
        });
        let expected = "f:1:5: `a`: found integer, expected a table\n\
                        f:2:1: `b`: found table, expected tables `[[b]]`";
        assert_eq!(got, Err(expected.to_owned()));
    }
}
