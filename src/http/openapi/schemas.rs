//! The shapes of bodies and answers.

use serde_json::{Map, Value, json};

/// A plain decimal in a string.
fn decimal() -> Value {
    json!({"$ref": "#/components/schemas/Decimal"})
}

/// A kind of field by its shorthand.
fn field(kind: &str) -> Value {
    let nullable = kind.ends_with('?');
    let kind = kind.trim_end_matches('?');
    let plain = |name: &str| if nullable { json!({"type": [name, "null"]}) } else { json!({"type": name}) };
    match kind {
        "decimal" if nullable => json!({"anyOf": [decimal(), {"type": "null"}]}),
        "decimal" => decimal(),
        // What may be sent: a string, or a number by its literal text.
        "amount" => json!({"type": ["string", "number"], "examples": ["0.5", 0.5]}),
        "time" if nullable => json!({"type": ["string", "null"], "format": "date-time"}),
        "time" => json!({"type": "string", "format": "date-time"}),
        "uuid" => json!({"type": "string", "format": "uuid"}),
        "text" => plain("string"),
        "int" => plain("integer"),
        "number" => plain("number"),
        "bool" => plain("boolean"),
        "object" => plain("object"),
        "array" => json!({"type": "array"}),
        "strings" => json!({"type": "array", "items": {"type": "string"}}),
        words if words.contains('|') => json!({"type": "string", "enum": words.split('|').collect::<Vec<_>>()}),
        reference => json!({"$ref": format!("#/components/schemas/{reference}")}),
    }
}

/// An object of these fields: `name kind`, with a `*` before the name where it is always there.
fn object(fields: &[&str]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for text in fields {
        let Some((name, kind)) = text.split_once(' ') else { continue };
        let bare = name.trim_start_matches('*');
        if bare != name {
            required.push(bare);
        }
        properties.insert(bare.to_owned(), field(kind));
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// Every schema; `reasons` are the codes of what can happen to an order, with the rule behind each.
pub(super) fn all(reasons: &[(&'static str, String)]) -> Value {
    let codes: Vec<_> = reasons.iter().map(|(code, _)| code).collect();
    let rules: Vec<_> = reasons.iter().map(|(code, rule)| format!("`{code}`: {rule}")).collect();
    let mut schemas = json!({
        "Decimal": {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$", "examples": ["0.5"]},
        "Id": {"type": "string", "format": "uuid"},
        "Object": {"type": "object"},
        "Empty": {"type": "object", "additionalProperties": false},
        "Candle": {"type": "array", "items": {"type": "number"}, "minItems": 6, "maxItems": 6,
            "description": "[time, low, high, open, close, volume]"},
        "SparkLines": {"type": "object", "additionalProperties": {"type": "array", "items": {"$ref": "#/components/schemas/Candle"}}},
        "Reason": {"type": "string", "enum": codes, "description": rules.join("\n")},
    });
    let tables: &[(&str, &[&str])] = &[
        ("Error", &["*message text", "*code text", "part int"]),
        ("Time", &["*iso time", "*epoch number"]),
        (
            "Currency",
            &[
                "*id text",
                "*name text",
                "*min_size decimal",
                "*status text",
                "*message text?",
                "*max_precision decimal",
                "*convertible_to array",
                "*display_name text",
                "*default_network text",
                "*supported_networks array",
                "*details object",
            ],
        ),
        (
            "Product",
            &[
                "*id text",
                "*base_currency text",
                "*quote_currency text",
                "*base_increment decimal",
                "*quote_increment decimal",
                "base_min_size decimal",
                "base_max_size decimal",
                "*min_market_funds decimal",
                "max_market_funds decimal",
                "*display_name text",
                "*status online|offline|internal|delisted",
                "*status_message text",
                "*max_slippage_percentage decimal",
                "*margin_enabled bool",
                "*post_only bool",
                "*limit_only bool",
                "*cancel_only bool",
                "*trading_disabled bool",
                "*fx_stablecoin bool",
                "*auction_mode bool",
            ],
        ),
        (
            "VolumeSummary",
            &[
                "*id text",
                "*base_currency text",
                "*quote_currency text",
                "*display_name text",
                "*market_types array",
                "*spot_volume_24hour decimal",
                "*spot_volume_30day decimal",
            ],
        ),
        ("Book", &["*bids array", "*asks array", "*sequence int", "*auction_mode bool", "*time time"]),
        (
            "Ticker",
            &[
                "*trade_id int",
                "*price decimal",
                "*size decimal",
                "*bid decimal",
                "*ask decimal",
                "*volume decimal",
                "*time time",
            ],
        ),
        ("Trade", &["*trade_id int", "*side buy|sell", "*price decimal", "*size decimal", "*time time"]),
        (
            "Stats",
            &[
                "*open decimal",
                "*high decimal",
                "*low decimal",
                "*last decimal",
                "*volume decimal",
                "*volume_30day decimal",
            ],
        ),
        (
            "NewOrder",
            &[
                "*product_id text",
                "*side buy|sell",
                "type limit|market",
                "price amount",
                "size amount",
                "funds amount",
                "time_in_force GTC|GTT|IOC|FOK",
                "cancel_after min|hour|day",
                "expire_time time",
                "post_only bool",
                "stop loss|entry",
                "stop_price amount",
                "stp dc|co|cn|cb",
                "client_oid uuid",
                "profile_id uuid",
            ],
        ),
        (
            "Order",
            &[
                "*id uuid",
                "*product_id text",
                "*profile_id uuid",
                "*side buy|sell",
                "*type limit|market",
                "price decimal",
                "size decimal",
                "funds decimal",
                "specified_funds decimal",
                "*stp dc|co|cn|cb",
                "*time_in_force GTC|GTT|IOC|FOK",
                "expire_time time",
                "*post_only bool",
                "*settled bool",
                "*created_at time",
                "done_at time",
                "done_reason filled|canceled",
                "*status pending|open|active|done|rejected",
                "reject_reason text",
                "*fill_fees decimal",
                "*filled_size decimal",
                "*executed_value decimal",
                "stop loss|entry",
                "stop_price decimal",
                "client_oid uuid",
            ],
        ),
        ("ProductHint", &["product_id text"]),
        ("OrderBatch", &["*orders array"]),
        ("CancelBatch", &["*order_ids array"]),
        // An outcome that has an error has nothing else.
        (
            "BatchOutcome",
            &[
                "order_id uuid",
                "client_oid uuid",
                "status open|active|done",
                "done_reason filled|canceled",
                "filled_size decimal",
                "executed_value decimal",
                "fill_fees decimal",
                "error object",
            ],
        ),
        ("Amend", &["price decimal", "size decimal"]),
        ("AtomicBatch", &["cancel array", "amend array", "place array"]),
        ("AtomicOutcome", &["*cancel array", "*amend array", "*place array"]),
        ("Trace", &["*id uuid", "*product_id text", "*complete bool", "*events array"]),
        (
            "Fill",
            &[
                "*trade_id int",
                "*product_id text",
                "*order_id uuid",
                "*user_id uuid",
                "*profile_id uuid",
                "*liquidity M|T",
                "*price decimal",
                "*size decimal",
                "*fee decimal",
                "*side buy|sell",
                "*settled bool",
                "usd_volume decimal?",
                "*created_at time",
            ],
        ),
        (
            "Account",
            &[
                "*id uuid",
                "*currency text",
                "*balance decimal",
                "*hold decimal",
                "*available decimal",
                "*profile_id uuid",
                "*trading_enabled bool",
            ],
        ),
        (
            "LedgerEntry",
            &[
                "*id text",
                "*amount decimal",
                "*balance decimal",
                "*type transfer|match|fee|rebate|conversion",
                "*created_at time",
                "*details object",
            ],
        ),
        (
            "Hold",
            &[
                "*id uuid",
                "*account_id uuid",
                "*amount decimal",
                "*type order|transfer",
                "*ref uuid",
                "*created_at time",
                "*updated_at time",
            ],
        ),
        (
            "Transfer",
            &[
                "*id uuid",
                "*type deposit|withdraw|internal_deposit|internal_withdraw",
                "*created_at time",
                "*completed_at time?",
                "*canceled_at time?",
                "*processed_at time?",
                "*account_id uuid",
                "*user_id uuid",
                "*user_nonce text?",
                "*amount decimal",
                "*currency text",
                "*details object",
            ],
        ),
        ("NewTransfer", &["*to text", "*currency text", "*amount amount", "id uuid"]),
        ("ProfileTransfer", &["*from uuid", "*to uuid", "*currency text", "*amount amount", "id uuid"]),
        ("Paid", &["*id uuid", "to uuid", "*currency text", "*amount decimal"]),
        ("Fees", &["*maker_fee_rate decimal", "*taker_fee_rate decimal", "*usd_volume decimal?"]),
        (
            "Profile",
            &["*id uuid", "*user_id uuid", "*name text", "*active bool", "*is_default bool", "*created_at time"],
        ),
        ("Identified", &["*id uuid"]),
        ("TrailingVolume", &["*product_id text", "*exchange_volume decimal", "*volume decimal", "*recorded_at time"]),
        (
            "Wallet",
            &[
                "*id uuid",
                "*name text",
                "*balance decimal",
                "*currency text",
                "*type wallet|fiat",
                "*primary bool",
                "*active bool",
                "*available_on_consumer bool",
                "*hold_balance decimal",
                "*hold_currency text",
            ],
        ),
        ("AddressRequest", &["network text", "account_id text", "profile_id uuid"]),
        (
            "Address",
            &[
                "*id uuid",
                "*address text",
                "*address_info object",
                "*name text",
                "*created_at time",
                "*updated_at time",
                "*network text",
                "*exchange_deposit_address bool",
            ],
        ),
        (
            "CryptoWithdrawal",
            &[
                "*amount amount",
                "*currency text",
                "*crypto_address text",
                "destination_tag text",
                "no_destination_tag bool",
                "network text",
                "add_network_fee_to_total bool",
                "profile_id uuid",
                "id uuid",
            ],
        ),
        ("WalletMovement", &["*amount amount", "*currency text", "*coinbase_account_id uuid", "profile_id uuid"]),
        (
            "Withdrawal",
            &[
                "*id uuid",
                "*amount decimal",
                "*currency text",
                "*fee decimal",
                "*subtotal decimal",
                "network text",
                "payout_at time?",
            ],
        ),
        ("FeeEstimate", &["*fee decimal"]),
        ("DemoDeposit", &["*currency text", "*amount amount", "id uuid"]),
        ("SimulatedDeposit", &["*currency text", "*amount amount", "*address text"]),
        ("Credentials", &["*email text", "*password text"]),
    ];
    if let Value::Object(all) = &mut schemas {
        let tables = tables.iter().chain(super::link_operations::SCHEMAS);
        all.extend(tables.map(|(name, fields)| ((*name).to_owned(), object(fields))));
    }
    schemas
}
