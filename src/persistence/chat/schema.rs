//! Chat's tables as diesel sees them; the truth is in `migrations/`.
#![allow(missing_docs, reason = "diesel's macro makes public items without documentation")]

diesel::table! {
    chat_rooms (id) {
        id -> BigInt,
        kind -> Text,
        name -> Text,
        topic -> Text,
        closed -> Bool,
        members -> Integer,
        last_sequence -> BigInt,
        last_at -> BigInt,
        state -> Text,
    }
}

diesel::table! {
    chat_members (room, account) {
        room -> BigInt,
        account -> BigInt,
        role -> Text,
        joined_at -> BigInt,
        read_to -> BigInt,
        muted_until -> Nullable<BigInt>,
        last_sent -> Nullable<BigInt>,
    }
}

diesel::table! {
    chat_messages (id) {
        id -> BigInt,
        room -> BigInt,
        sequence -> BigInt,
        author -> BigInt,
        client_id -> Nullable<Text>,
        system -> Bool,
        at -> BigInt,
        body -> Text,
        reply_to -> Nullable<BigInt>,
        edited_at -> Nullable<BigInt>,
        deleted_at -> Nullable<BigInt>,
        deleted_by -> Nullable<BigInt>,
        details -> Text,
        changed -> BigInt,
    }
}

diesel::table! {
    chat_reports (room, number) {
        room -> BigInt,
        number -> BigInt,
        message -> BigInt,
        author -> BigInt,
        reporter -> BigInt,
        reason -> Text,
        at -> BigInt,
        resolved_at -> Nullable<BigInt>,
        resolved_by -> Nullable<BigInt>,
        note -> Nullable<Text>,
    }
}

diesel::table! {
    chat_friends (account, other) {
        account -> BigInt,
        other -> BigInt,
        status -> Text,
        blocked -> Bool,
        since -> BigInt,
    }
}

diesel::table! {
    chat_streams (shard) {
        shard -> Integer,
        epoch_counter -> BigInt,
        epoch_node -> Integer,
        batch -> BigInt,
        sequence -> BigInt,
    }
}

diesel::table! {
    chat_watermark (id) {
        id -> Integer,
        position -> BigInt,
    }
}

diesel::table! {
    chat_people (account) {
        account -> BigInt,
        nick -> Text,
        nick_folded -> Text,
        visible_to -> Text,
        last_seen -> Nullable<BigInt>,
    }
}

diesel::table! {
    chat_uploads (id) {
        id -> Text,
        account -> BigInt,
        room -> BigInt,
        media_type -> Text,
        bytes -> BigInt,
        at -> BigInt,
        message -> Nullable<BigInt>,
        gone -> Bool,
    }
}

diesel::joinable!(chat_members -> chat_rooms (room));
diesel::allow_tables_to_appear_in_same_query!(chat_members, chat_rooms, chat_messages);
