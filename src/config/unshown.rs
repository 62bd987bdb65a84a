//! Values that may hold a password: nothing that is said of them repeats them.

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use std::ffi::OsStr;

/// Reads a value; what is wrong with it is said by the reason alone, since messages end up in logs.
#[derive(Clone, Copy)]
pub(super) struct Unshown<T>(pub fn(&str) -> Result<T, &'static str>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Unshown<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let read = value.to_str().ok_or("it is not UTF-8").and_then(self.0);
        read.map_err(|reason| {
            let which = argument.map(|argument| format!(" of '{argument}'")).unwrap_or_default();
            Error::raw(ErrorKind::ValueValidation, format!("the value{which} cannot be used: {reason}\n"))
                .with_cmd(command)
        })
    }
}
