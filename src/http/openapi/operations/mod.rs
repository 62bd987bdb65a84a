//! What each route is for, what it reads and what it answers.

mod people;

pub(super) use people::{FORM, PEOPLE};

/// One route.
pub(super) struct Operation {
    pub method: &'static str,
    pub pattern: &'static str,
    pub summary: &'static str,
    /// Name, with a `*` before it where it must be given; schema as JSON; meaning.
    pub query: &'static [(&'static str, &'static str, &'static str)],
    /// The schema of the body; none when empty.
    pub body: &'static str,
    /// Whether the body may be left out.
    pub optional: bool,
    /// A body, as JSON.
    pub example: &'static str,
    /// Media types of a body that is no JSON, or need not be.
    pub takes: &'static [&'static str],
    /// The schema of the answer; none when empty.
    pub answer: &'static str,
    /// Media types of an answer that is no JSON, or need not be.
    pub gives: &'static [&'static str],
    /// The statuses of success. Those that begin with 2 have the answer.
    pub statuses: &'static [&'static str],
}

impl Operation {
    /// A route that nothing is said about.
    pub const UNKNOWN: Operation = Operation {
        method: "",
        pattern: "",
        summary: "",
        query: &[],
        body: "",
        optional: false,
        example: "",
        takes: &[],
        answer: "",
        gives: &[],
        statuses: &["200"],
    };
}

pub(super) const fn get(pattern: &'static str, summary: &'static str, answer: &'static str) -> Operation {
    Operation { method: "GET", pattern, summary, answer, ..Operation::UNKNOWN }
}

pub(super) const fn list(
    pattern: &'static str,
    summary: &'static str,
    answer: &'static str,
    query: &'static [(&'static str, &'static str, &'static str)],
) -> Operation {
    Operation { query, ..get(pattern, summary, answer) }
}

pub(super) const fn post(
    pattern: &'static str,
    summary: &'static str,
    body: &'static str,
    example: &'static str,
    answer: &'static str,
) -> Operation {
    Operation { method: "POST", body, example, ..get(pattern, summary, answer) }
}

pub(super) const fn put(
    pattern: &'static str,
    summary: &'static str,
    body: &'static str,
    example: &'static str,
    answer: &'static str,
) -> Operation {
    Operation { method: "PUT", ..post(pattern, summary, body, example, answer) }
}

/// What becomes a WebSocket.
pub(super) const fn socket(pattern: &'static str, summary: &'static str) -> Operation {
    Operation { statuses: &["101"], ..get(pattern, summary, "") }
}

pub(super) const fn delete(pattern: &'static str, summary: &'static str, answer: &'static str) -> Operation {
    Operation { method: "DELETE", ..get(pattern, summary, answer) }
}

/// The same with a body that may be left out.
pub(super) const fn optional(operation: Operation) -> Operation {
    Operation { optional: true, ..operation }
}

pub(super) const TEXT: &str = r#"{"type": "string"}"#;
pub(super) const TIME: &str = r#"{"type": "string", "format": "date-time"}"#;
const PRODUCT: &str = r#"{"type": "string", "examples": ["BTC-USDT"]}"#;
pub(super) const LIMIT: (&str, &str, &str) =
    ("limit", r#"{"type": "integer", "minimum": 1, "default": 100}"#, "Items at most; above 1000 is 1000.");
pub(super) const AFTER: (&str, &str, &str) = ("after", TEXT, "Only items older than this cursor.");
/// Of the list of what waits, which is whole unless it is very long and begins with the oldest.
const WAITING_PAGE: [(&str, &str, &str); 2] = [
    ("limit", r#"{"type": "integer", "minimum": 1, "default": 1000}"#, "Items at most; above 1000 is 1000."),
    ("after", TEXT, "Only items behind this cursor."),
];
const BEFORE: (&str, &str, &str) = ("before", TEXT, "Only items newer than this cursor.");
const PRODUCT_ID: (&str, &str, &str) = ("product_id", PRODUCT, "Only this market.");
const START_DATE: (&str, &str, &str) = ("start_date", TIME, "Only from this moment on.");
const END_DATE: (&str, &str, &str) = ("end_date", TIME, "Only up to this moment.");
const TRANSFER_TYPE: (&str, &str, &str) = (
    "type",
    r#"{"type": "string", "enum": ["deposit", "withdraw", "internal_deposit", "internal_withdraw"]}"#,
    "Only this kind.",
);

const CREDENTIALS: &str = r#"{"email": "ada@example.org", "password": "a good long one"}"#;

/// The routes of trading, and of the money that it needs.
pub(super) const OPERATIONS: &[Operation] = &[
    get("/time", "The server's time", "Time"),
    get("/openapi.json", "This document", "Document"),
    get("/currencies", "All currencies", "Currency[]"),
    get("/currencies/{id}", "One currency", "Currency"),
    get("/products", "All markets", "Product[]"),
    get("/products/{id}", "One market", "Product"),
    get("/products/spark-lines", "Hourly candles of the last day, of each market", "SparkLines"),
    get("/products/volume-summary", "Volumes of all markets", "VolumeSummary[]"),
    list(
        "/products/{id}/book",
        "The order book: the best prices, all prices or all orders",
        "Book",
        &[("level", r#"{"type": "integer", "enum": [1, 2, 3], "default": 1}"#, "How much of it.")],
    ),
    get("/products/{id}/ticker", "The last trade and the best prices", "Ticker"),
    list("/products/{id}/trades", "Trades, newest first", "Trade[]", &[LIMIT, AFTER, BEFORE]),
    list(
        "/products/{id}/candles",
        "Candles, newest first",
        "Candle[]",
        &[
            (
                "granularity",
                r#"{"type": "integer", "enum": [60, 300, 900, 3600, 21600, 86400], "default": 60}"#,
                "Seconds of one candle.",
            ),
            ("start", TIME, "The first bucket; alone, 300 buckets from there on."),
            ("end", TIME, "The last bucket; alone it counts for nothing."),
        ],
    ),
    get("/products/{id}/stats", "Statistics of the last day and 30 days", "Stats"),
    post(
        "/orders",
        "Place an order",
        "NewOrder",
        r#"{"product_id": "BTC-USDT", "side": "buy", "type": "limit", "price": "100.00", "size": "0.5"}"#,
        "Order",
    ),
    list(
        "/orders",
        "Orders, newest first; live ones unless a status is given",
        "Order[]",
        &[
            LIMIT,
            AFTER,
            BEFORE,
            PRODUCT_ID,
            (
                "status",
                r#"{"type": "array", "items": {"type": "string",
                    "enum": ["open", "pending", "active", "done", "all", "rejected", "settled"]}}"#,
                "Repeatable; `pending` is `open`, `settled` is `done`, and refused orders are kept nowhere.",
            ),
            START_DATE,
            END_DATE,
            (
                "sortedBy",
                r#"{"type": "string", "enum": ["created_at", "price", "size", "order_id", "side", "type"]}"#,
                "How the page is sorted.",
            ),
            ("sorting", r#"{"type": "string", "enum": ["asc", "desc"]}"#, "Which way."),
        ],
    ),
    post(
        "/orders/batch",
        "Place 1 to 100 orders; one outcome for each, in their order",
        "OrderBatch",
        r#"{"orders": [{"product_id": "BTC-USDT", "side": "buy", "price": "100.00", "size": "0.5"}]}"#,
        "BatchOutcome[]",
    ),
    Operation {
        body: "CancelBatch",
        example: r#"{"order_ids": ["client:6f9619ff-8b86-d011-b42d-00cf4fc964ff"]}"#,
        ..delete("/orders/batch", "Cancel 1 to 100 orders; one outcome for each, in their order", "BatchOutcome[]")
    },
    post(
        "/orders/atomic",
        "Cancel, change and place orders of one product together, or nothing of it; parts are counted in this order",
        "AtomicBatch",
        r#"{"cancel": ["client:6f9619ff-8b86-d011-b42d-00cf4fc964ff"],
            "place": [{"product_id": "BTC-USDT", "side": "buy", "price": "100.00", "size": "0.5"}]}"#,
        "AtomicOutcome",
    ),
    Operation {
        method: "PATCH",
        ..post(
            "/orders/{id}",
            "Change the price or the size of a limit order; only a smaller size keeps its place in the queue",
            "Amend",
            r#"{"size": "0.25"}"#,
            "Order",
        )
    },
    post(
        "/admin/currencies",
        "List a currency",
        "NewCurrency",
        r#"{"id": "SOL", "name": "Solana", "decimals": 8}"#,
        "Currency",
    ),
    get("/admin/markets", "All markets with all their rules", "MarketRules[]"),
    post(
        "/admin/markets",
        "Open a market on every node",
        "NewMarket",
        r#"{"base_currency": "SOL", "quote_currency": "USDT", "base_increment": "0.001", "quote_increment": "0.01",
            "halt": "0.1"}"#,
        "MarketRules",
    ),
    Operation {
        method: "PATCH",
        ..post(
            "/admin/markets/{id}",
            "Change rules of a market: fees, limits, band, halt, state",
            "MarketChange",
            r#"{"state": "cancel_only", "taker_fee_rate": "0.003"}"#,
            "MarketRules",
        )
    },
    post(
        "/admin/markets/{id}/auction",
        "Gather orders from now on and trade what can be at one price then",
        "AuctionWish",
        r#"{"seconds": 60}"#,
        "AuctionBegun",
    ),
    post(
        "/admin/kill",
        "The kill switch of a user, a market or the venue",
        "Kill",
        r#"{"scope": "market", "product_id": "BTC-USDT", "engaged": true, "reason": "a wrong price"}"#,
        "Killed",
    ),
    get("/orders/{id}", "One order, by its id or by `client:` and the client's own", "Order"),
    get("/orders/{id}/trace", "Everything that happened to an order, with the rule behind each step", "Trace"),
    Operation {
        query: &[("product_id", PRODUCT, "A hint; never a reason to refuse.")],
        ..delete("/orders/{id}", "Cancel an order; answers its id", "Id")
    },
    Operation {
        query: &[PRODUCT_ID],
        body: "ProductHint",
        optional: true,
        example: r#"{"product_id": "BTC-USDT"}"#,
        ..delete("/orders", "Cancel all orders; answers their ids", "Id[]")
    },
    list(
        "/fills",
        "The caller's side of trades, of one market or one order, newest first",
        "Fill[]",
        &[LIMIT, AFTER, BEFORE, PRODUCT_ID, ("order_id", TEXT, "Only this order."), START_DATE, END_DATE],
    ),
    get("/accounts", "What the caller has, by currency", "Account[]"),
    get("/accounts/{id}", "What the caller has of one currency", "Account"),
    list(
        "/accounts/{id}/ledger",
        "Every change of a balance, newest first",
        "LedgerEntry[]",
        &[LIMIT, AFTER, BEFORE, START_DATE, END_DATE],
    ),
    list("/accounts/{id}/holds", "What money is reserved for", "Hold[]", &[LIMIT, AFTER, BEFORE]),
    list(
        "/accounts/{id}/transfers",
        "Deposits, withdrawals and payments of one currency",
        "Transfer[]",
        &[LIMIT, AFTER, BEFORE, TRANSFER_TYPE],
    ),
    list(
        "/transfers",
        "Deposits, withdrawals and payments, newest first",
        "Transfer[]",
        &[LIMIT, AFTER, BEFORE, TRANSFER_TYPE],
    ),
    get("/transfers/{id}", "One of them", "Transfer"),
    post(
        "/transfers",
        "Pay another user, named by id or e-mail address",
        "NewTransfer",
        r#"{"to": "bob@example.org", "currency": "BTC", "amount": "0.1"}"#,
        "Paid",
    ),
    post(
        "/profiles/transfer",
        "Pay from the caller's profile into another user's",
        "ProfileTransfer",
        r#"{"from": "00000000-0002-80a4-8000-000000000000", "to": "00000000-0003-80a4-8000-000000000000",
            "currency": "BTC", "amount": "0.1"}"#,
        "Empty",
    ),
    get("/fees", "The rates of new orders", "Fees"),
    list(
        "/profiles",
        "The caller's only profile",
        "Profile[]",
        &[("active", r#"{"type": "boolean", "default": true}"#, "Active ones, or those that are not: none.")],
    ),
    get("/profiles/{id}", "It", "Profile"),
    get("/users/self/verify", "Who the caller is", "Identified"),
    get("/users/self/trailing-volume", "Volumes of the last 30 days", "TrailingVolume[]"),
    get("/users/{id}/exchange-limits", "What may be withdrawn", "ExchangeLimits"),
    get("/coinbase-accounts", "Wallets outside of the venue", "Wallet[]"),
    optional(post(
        "/coinbase-accounts/{id}/addresses",
        "An address for deposits; no body is needed",
        "AddressRequest",
        r#"{"network": "bitcoin"}"#,
        "Address",
    )),
    get("/payment-methods", "None", "NoPaymentMethods"),
    post(
        "/withdrawals/crypto",
        "Withdraw to an address; large amounts wait for an administrator",
        "CryptoWithdrawal",
        r#"{"amount": "0.5", "currency": "BTC", "crypto_address": "simbtc1q00000000000000000000"}"#,
        "Withdrawal",
    ),
    post(
        "/withdrawals/coinbase-account",
        "Withdraw to a wallet",
        "WalletMovement",
        r#"{"amount": "0.5", "currency": "BTC", "coinbase_account_id": "00000000-0002-80a5-8000-000000000000"}"#,
        "Withdrawal",
    ),
    optional(post("/withdrawals/payment-method", "There is no payment method", "Object", "{}", "Withdrawal")),
    list(
        "/withdrawals/fee-estimate",
        "What a withdrawal costs",
        "FeeEstimate",
        &[
            ("*currency", TEXT, "Of what."),
            ("crypto_address", TEXT, "Where to."),
            ("network", TEXT, "On which network."),
        ],
    ),
    delete("/withdrawals/{id}", "Call a withdrawal back that is not on its way", "Id"),
    post(
        "/deposits/coinbase-account",
        "Deposit from a wallet",
        "WalletMovement",
        r#"{"amount": "0.5", "currency": "BTC", "coinbase_account_id": "00000000-0002-80a5-8000-000000000000"}"#,
        "Withdrawal",
    ),
    optional(post("/deposits/payment-method", "There is no payment method", "Object", "{}", "Withdrawal")),
    post(
        "/deposits/demo",
        "Play money, where the server gives it out",
        "DemoDeposit",
        r#"{"currency": "USDT", "amount": "500"}"#,
        "Paid",
    ),
    post(
        "/deposits/simulated",
        "Play money that arrives at an address like from outside",
        "SimulatedDeposit",
        r#"{"currency": "BTC", "amount": "1", "address": "simbtc1q00000000000000000000"}"#,
        "SimulatedPayment",
    ),
    list("/admin/withdrawals", "Withdrawals that are not over, oldest first", "PendingWithdrawal[]", &WAITING_PAGE),
    post("/admin/withdrawals/{id}/approve", "Let a withdrawal go", "", "", "Empty"),
    post("/admin/withdrawals/{id}/reject", "Give a withdrawal's money back", "", "", "Empty"),
    socket("/feed", "The WebSocket feed"),
];
