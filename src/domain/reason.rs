//! Why something happened to an order: the one list of reasons that REST, feed, traces, documentation and metrics share.

use super::event::{ChangeReason, DoneReason, PhaseReason};
use super::order::Reject;

/// A reason with a stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was refused.
    Refused(Reject),
    /// It ended.
    Ended(DoneReason),
    /// It changed.
    Changed(ChangeReason),
    /// Its market has another phase.
    Phase(PhaseReason),
}

impl Reason {
    /// Every reason.
    pub fn all() -> impl Iterator<Item = Reason> {
        let refused = Reject::ALL.into_iter().map(Reason::Refused);
        let ended = DoneReason::ALL.into_iter().map(Reason::Ended);
        let changed = ChangeReason::ALL.into_iter().map(Reason::Changed);
        refused.chain(ended).chain(changed).chain(PhaseReason::ALL.into_iter().map(Reason::Phase))
    }

    /// The stable code that programs may rely on.
    pub fn code(self) -> &'static str {
        match self {
            Reason::Refused(reject) => reject.code(),
            Reason::Ended(reason) => reason.code(),
            Reason::Changed(reason) => reason.code(),
            Reason::Phase(reason) => reason.code(),
        }
    }

    /// The rule behind it, for people.
    pub fn rule(self) -> String {
        match self {
            Reason::Refused(reject) => reject.to_string(),
            Reason::Ended(reason) => reason.rule().to_owned(),
            Reason::Changed(reason) => reason.rule().to_owned(),
            Reason::Phase(reason) => reason.rule().to_owned(),
        }
    }
}

impl DoneReason {
    /// Every variant.
    pub const ALL: [DoneReason; 8] = [
        DoneReason::Filled,
        DoneReason::Canceled,
        DoneReason::Expired,
        DoneReason::NoLiquidity,
        DoneReason::FillOrKill,
        DoneReason::SelfTrade,
        DoneReason::Halted,
        DoneReason::Killed,
    ];

    /// The stable code that programs may rely on.
    pub fn code(self) -> &'static str {
        match self {
            DoneReason::Filled => "filled",
            DoneReason::Canceled => "canceled",
            DoneReason::Expired => "expired",
            DoneReason::NoLiquidity => "no_liquidity",
            DoneReason::FillOrKill => "fill_or_kill",
            DoneReason::SelfTrade => "self_trade",
            DoneReason::Halted => "halted_for_auction",
            DoneReason::Killed => "killed",
        }
    }

    /// The rule behind it, for people.
    pub fn rule(self) -> &'static str {
        match self {
            DoneReason::Filled => "nothing is left to fill",
            DoneReason::Canceled => "its owner canceled it",
            DoneReason::Expired => "its time had come",
            DoneReason::NoLiquidity => "it takes only at once and could take no more, or woke and must not take",
            DoneReason::FillOrKill => "it could not be filled whole at once",
            DoneReason::SelfTrade => "it met an order of its own user",
            DoneReason::Halted => "it takes only at once, and the market halted for a call auction",
            DoneReason::Killed => "the venue's operator stopped trading and canceled what was open",
        }
    }
}

impl ChangeReason {
    /// Every variant.
    pub const ALL: [ChangeReason; 3] = [ChangeReason::SelfTrade, ChangeReason::Amended, ChangeReason::Auction];

    /// The stable code that programs may rely on.
    pub fn code(self) -> &'static str {
        match self {
            ChangeReason::SelfTrade => "self_trade_decrement",
            ChangeReason::Amended => "amended",
            ChangeReason::Auction => "auction",
        }
    }

    /// The rule behind it, for people.
    pub fn rule(self) -> &'static str {
        match self {
            ChangeReason::SelfTrade => "it met a smaller order of its own user and was reduced by its size",
            ChangeReason::Amended => "its owner changed it",
            ChangeReason::Auction => "a part of it was matched at the end of a call auction",
        }
    }
}

impl PhaseReason {
    /// Every variant.
    pub const ALL: [PhaseReason; 5] = [
        PhaseReason::Volatility,
        PhaseReason::AuctionAsked,
        PhaseReason::AuctionEnded,
        PhaseReason::KillSwitch,
        PhaseReason::Released,
    ];

    /// The stable code that programs may rely on.
    pub fn code(self) -> &'static str {
        match self {
            PhaseReason::Volatility => "volatility_halt",
            PhaseReason::AuctionAsked => "auction_asked",
            PhaseReason::AuctionEnded => "auction_ended",
            PhaseReason::KillSwitch => "kill_switch",
            PhaseReason::Released => "kill_switch_released",
        }
    }

    /// The rule behind it, for people.
    pub fn rule(self) -> &'static str {
        match self {
            PhaseReason::Volatility => "a trade would have been too far from the reference price",
            PhaseReason::AuctionAsked => "the venue's operator asked for a call auction",
            PhaseReason::AuctionEnded => "the call auction is over",
            PhaseReason::KillSwitch => "the venue's operator stopped trading",
            PhaseReason::Released => "the venue's operator let trading go on",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_words_and_told_apart() {
        let codes: Vec<_> = Reason::all().map(Reason::code).collect();
        let unique: BTreeSet<_> = codes.iter().collect();
        assert_eq!(unique.len(), codes.len());
        assert!(codes.iter().all(|code| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
        assert!(Reason::all().all(|reason| !reason.rule().is_empty()));
    }
}
