//! The tables as diesel sees them.
#![allow(missing_docs, reason = "columns are explained in the migrations")]

diesel::table! {
    orders (market, number) {
        market -> Integer,
        number -> BigInt,
        account -> BigInt,
        client_id -> Nullable<Text>,
        created_at -> BigInt,
        done -> Bool,
        record -> Text,
    }
}

diesel::table! {
    fills (market, trade) {
        market -> Integer,
        trade -> BigInt,
        maker_account -> BigInt,
        taker_account -> BigInt,
        at -> BigInt,
        feed_sequence -> BigInt,
        record -> Text,
    }
}

diesel::table! {
    candles (market, granularity, start) {
        market -> Integer,
        granularity -> Integer,
        start -> BigInt,
        open -> BigInt,
        high -> BigInt,
        low -> BigInt,
        close -> BigInt,
        volume -> BigInt,
        trades -> Integer,
    }
}

diesel::table! {
    ledger_entries (id) {
        id -> BigInt,
        account -> BigInt,
        currency -> Integer,
        amount -> Text,
        balance -> Text,
        kind -> Text,
        market -> Nullable<Integer>,
        order_number -> Nullable<BigInt>,
        order_slot -> Nullable<BigInt>,
        trade -> Nullable<BigInt>,
        transfer -> Nullable<Text>,
        at -> BigInt,
    }
}

diesel::table! {
    market_events (market, entry) {
        market -> Integer,
        entry -> BigInt,
        first_sequence -> BigInt,
        last_sequence -> BigInt,
        first_at -> BigInt,
        last_at -> BigInt,
        events -> Binary,
    }
}

diesel::table! {
    watermark (id) {
        id -> Integer,
        position -> BigInt,
        streams -> Text,
    }
}

diesel::table! {
    log_archive (first) {
        first -> BigInt,
        last -> BigInt,
        length -> BigInt,
        checksum -> Binary,
        content -> Binary,
    }
}

diesel::table! {
    users (id) {
        id -> BigInt,
        email -> Text,
        password_hash -> Text,
        role -> Text,
        demo -> Bool,
        created_at -> BigInt,
        last_sign_in_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    sessions (id) {
        id -> Text,
        user_id -> BigInt,
        created_at -> BigInt,
        expires_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
        last_used -> BigInt,
        user_agent -> Text,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Text,
        user_id -> BigInt,
        label -> Text,
        secret -> Binary,
        passphrase -> Binary,
        scopes -> Text,
        networks -> Text,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
        last_used -> Nullable<BigInt>,
        last_used_from -> Nullable<Text>,
    }
}
