//! A node that passes commands on, and what it may say of the answers while it is behind.

use super::*;
use std::sync::atomic::AtomicU64;

/// A market refuses before anybody looks at client ids; whether the order is a repeat of one that was accepted is looked up
/// where it was asked for. A node that has not applied that order yet cannot tell.
#[actix_web::test]
async fn a_node_that_is_behind_does_not_say_that_a_repeat_was_refused() {
    let machine = Machine::new();
    let (forwarder, mut calls) = Forwarder::new(16);
    let program = machine.start_as(Role::one_of_several(2), Some(forwarder), Settings::default()).await;
    let refused = Refused::Reject(Reject::CancelOnly);
    // How far the active node was when it answered.
    let position = Arc::new(AtomicU64::new(0));
    let read = position.clone();
    actix_web::rt::spawn(async move {
        while let Some(call) = calls.recv().await {
            let answer = remote::Answer { outcome: Err(refused), position: read.load(Ordering::Relaxed) };
            call.reply.send(Ok(postcard::to_stdvec(&answer).unwrap())).unwrap();
        }
    });
    let market = program.trading.market("BTC-USDT").unwrap();
    let named = bid(1, TimeInForce::GoodTillCanceled);
    let unnamed = NewOrder { client_id: None, ..named };
    let batch = Atomic { account: ADA, places: vec![named], ..Atomic::default() };
    assert_eq!(program.trading.place(market, named).await, Err(refused), "it has applied all that there is");

    position.store(u64::MAX, Ordering::Relaxed);
    let unknown = Refused::Unavailable(Unavailable::OutcomeUnknown);
    let (first, second, third) = tokio::join!(
        program.trading.place(market, named),
        program.trading.together(market, batch, None),
        program.trading.place(market, unnamed),
    );
    assert_eq!((first, second.unwrap_err(), third), (Err(unknown), unknown, Err(refused)));
    program.end().await;
}
