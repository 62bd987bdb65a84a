//! The place of the last panic of each thread, so that the tree can show where an actor died.
//!
//! A caught panic carries its text but not its place; only the panic hook sees that.

use std::{any::Any, cell::RefCell, panic, sync::Once};

thread_local! {
    static LAST_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

static INSTALLED: Once = Once::new();

/// Installs the hook that remembers where a panic happened, before the hook that was there. Call it once at the start
/// of the program; later calls do nothing. Without it the reasons in the tree lack the place.
pub fn install() {
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
            // A thread that is being torn down has no such variable any more; its panic then has no place.
            let _ = LAST_PLACE.try_with(|last| *last.borrow_mut() = place);
            previous(info);
        }));
    });
}

/// What a caught panic of this thread said, and where, if the hook is installed.
pub(crate) fn reason(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned());
    match LAST_PLACE.with(|last| last.borrow_mut().take()) {
        Some(place) => format!("panicked: {text} (at {place})"),
        None => format!("panicked: {text}"),
    }
}
