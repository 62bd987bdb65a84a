//! The tables as diesel sees them.
#![allow(missing_docs, reason = "columns are explained in the migrations")]

diesel::table! {
    orders (market, number) {
        market -> Integer,
        number -> BigInt,
        slot -> BigInt,
        account -> BigInt,
        client_id -> Nullable<Text>,
        side -> Text,
        price -> Nullable<BigInt>,
        time_in_force -> Nullable<Text>,
        expires_at -> Nullable<BigInt>,
        post_only -> Bool,
        funds -> Nullable<Text>,
        size -> BigInt,
        stop -> Nullable<Text>,
        stop_price -> Nullable<BigInt>,
        self_trade -> Text,
        created_at -> BigInt,
        remaining -> BigInt,
        filled -> BigInt,
        executed -> Text,
        fees -> Text,
        hold -> Text,
        status -> Text,
        done_reason -> Nullable<Text>,
        done_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    fills (market, trade) {
        market -> Integer,
        trade -> BigInt,
        at -> BigInt,
        feed_sequence -> BigInt,
        maker -> BigInt,
        maker_slot -> BigInt,
        maker_account -> BigInt,
        taker -> BigInt,
        taker_slot -> BigInt,
        taker_account -> BigInt,
        maker_side -> Text,
        price -> BigInt,
        size -> BigInt,
        base -> Text,
        quote -> Text,
        maker_fee -> Text,
        taker_fee -> Text,
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
    transfers (account, sequence) {
        account -> BigInt,
        sequence -> BigInt,
        id -> Text,
        kind -> Text,
        currency -> Integer,
        amount -> Text,
        counterpart -> Nullable<BigInt>,
        at -> BigInt,
    }
}

diesel::table! {
    withdrawals (id) {
        id -> Text,
        account -> BigInt,
        currency -> Integer,
        amount -> Text,
        fee -> Text,
        network -> Text,
        address -> Text,
        tag -> Nullable<Text>,
        created_at -> BigInt,
        stage -> Text,
        approved_at -> Nullable<BigInt>,
        approved_by -> Nullable<BigInt>,
        hash -> Nullable<Text>,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    deposit_addresses (address) {
        address -> Text,
        account -> BigInt,
        currency -> Integer,
        network -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    watermark (id) {
        id -> Integer,
        position -> BigInt,
        streams -> Text,
        ledger_entries -> BigInt,
    }
}

diesel::table! {
    snapshots (position) {
        position -> BigInt,
        content -> Binary,
    }
}

diesel::table! {
    bridge_watermark (id) {
        id -> Integer,
        position -> BigInt,
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
        name -> Text,
        photo -> Text,
        frozen -> Bool,
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
        token_expires_at -> BigInt,
        refresh_number -> BigInt,
        address -> Text,
    }
}

diesel::table! {
    confirmed_addresses (user_id) {
        user_id -> BigInt,
        email -> Text,
        confirmed_at -> BigInt,
    }
}

diesel::table! {
    mailed_codes (user_id, purpose) {
        user_id -> BigInt,
        purpose -> Text,
        code -> Binary,
        expires_at -> BigInt,
        attempts -> Integer,
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

diesel::table! {
    audit (id) {
        id -> BigInt,
        at -> BigInt,
        action -> Text,
        actor -> Nullable<BigInt>,
        subject -> Nullable<BigInt>,
        address -> Text,
        detail -> Text,
    }
}

diesel::table! {
    runtime_config (key, version) {
        key -> Text,
        version -> BigInt,
        value -> Text,
        set_at -> BigInt,
        set_by -> Nullable<BigInt>,
    }
}

diesel::table! {
    totp (user_id) {
        user_id -> BigInt,
        secret -> Binary,
        confirmed -> Bool,
        last_step -> BigInt,
    }
}

diesel::table! {
    recovery_codes (user_id, code) {
        user_id -> BigInt,
        code -> Binary,
    }
}

diesel::table! {
    identities (provider, subject) {
        provider -> Text,
        subject -> Text,
        user_id -> BigInt,
        linked_at -> BigInt,
    }
}

diesel::table! {
    outlets (user_id, kind) {
        user_id -> BigInt,
        kind -> Text,
        target -> Text,
        secret -> Binary,
        events -> Text,
    }
}

diesel::table! {
    price_alerts (id) {
        id -> BigInt,
        user_id -> BigInt,
        market -> Integer,
        above -> Bool,
        price -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    deliveries (id) {
        id -> BigInt,
        user_id -> BigInt,
        kind -> Text,
        event -> Text,
        payload -> Text,
        created_at -> BigInt,
        attempts -> Integer,
        due_at -> Nullable<BigInt>,
        last_error -> Text,
    }
}

diesel::table! {
    notified (source) {
        source -> Text,
        position -> BigInt,
    }
}

diesel::table! {
    profile_pictures (id) {
        id -> Text,
        account -> BigInt,
        media_type -> Text,
        uploaded_at -> BigInt,
    }
}
