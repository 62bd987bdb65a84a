//! The tables of links as diesel sees them; the truth is in `migrations/`.
#![allow(missing_docs, reason = "diesel's macro makes public items without documentation")]

diesel::table! {
    links (id) {
        id -> BigInt,
        domain -> Text,
        slug -> Text,
        owner -> Nullable<BigInt>,
        target -> Text,
        target_hash -> BigInt,
        title -> Text,
        notes -> Text,
        tags -> Text,
        code -> Integer,
        starts_at -> Nullable<BigInt>,
        expires_at -> Nullable<BigInt>,
        max_clicks -> Nullable<BigInt>,
        clicks_left -> Nullable<BigInt>,
        password_hash -> Nullable<Text>,
        rules -> Text,
        forward_query -> Bool,
        state -> Text,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        clicks -> BigInt,
        bot_clicks -> BigInt,
        last_click_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    link_changes (seq) {
        seq -> BigInt,
        link -> BigInt,
        domain -> Text,
        slug -> Text,
        at -> BigInt,
        by_account -> Nullable<BigInt>,
        what -> Text,
        details -> Text,
    }
}

diesel::table! {
    link_reports (id) {
        id -> BigInt,
        link -> BigInt,
        reason -> Text,
        comment -> Text,
        reporter -> Nullable<BigInt>,
        at -> BigInt,
        resolved_at -> Nullable<BigInt>,
        resolved_by -> Nullable<BigInt>,
        action -> Nullable<Text>,
        note -> Nullable<Text>,
    }
}

diesel::table! {
    link_hosts (host) {
        host -> Text,
        at -> BigInt,
        by_account -> Nullable<BigInt>,
        note -> Text,
    }
}

diesel::table! {
    link_domains (host) {
        host -> Text,
        settings -> Text,
        at -> BigInt,
        by_account -> Nullable<BigInt>,
    }
}

diesel::table! {
    link_click_marks (buffer) {
        buffer -> BigInt,
        click -> BigInt,
    }
}

diesel::table! {
    link_stats (link, dimension, grain, bucket, value) {
        link -> BigInt,
        dimension -> Integer,
        grain -> Integer,
        bucket -> BigInt,
        value -> Text,
        clicks -> BigInt,
    }
}

diesel::table! {
    link_visitors (day, link, visitor) {
        day -> BigInt,
        link -> BigInt,
        visitor -> BigInt,
    }
}

diesel::table! {
    link_salts (day) {
        day -> BigInt,
        salt -> Text,
    }
}

diesel::table! {
    link_clicks (link, at, buffer, click) {
        link -> BigInt,
        at -> BigInt,
        buffer -> BigInt,
        click -> BigInt,
        visitor -> BigInt,
        referrer -> Text,
        device -> Text,
        os -> Text,
        browser -> Text,
        language -> Text,
        country -> Text,
        bot -> Text,
        target -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(links, link_reports, link_stats);
