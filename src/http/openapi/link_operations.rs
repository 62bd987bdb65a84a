//! What each route of links is for.

use super::operations::{AFTER, LIMIT, Operation, TEXT, TIME, delete, get, list, optional, post, put, socket};

const SORT: &str = r#"{"type": "string", "enum": ["created_at", "updated_at", "clicks", "slug", "title"]}"#;
const GRAIN: &str = r#"{"type": "string", "enum": ["minute", "hour", "day"]}"#;
const WORDS: (&str, &str, &str) = ("q", TEXT, "Part of slug, target, title, notes or tags.");
const TAG: (&str, &str, &str) = ("tag", TEXT, "Only with this tag.");
const STATE: (&str, &str, &str) =
    ("state", r#"{"type": "string", "enum": ["active", "disabled", "blocked"]}"#, "Only in this state.");
const DOMAIN: (&str, &str, &str) = ("domain", TEXT, "Only on this domain.");
const SLUG: (&str, &str, &str) = ("slug", TEXT, "Only this slug.");
const SORTED_BY: (&str, &str, &str) = ("sort", SORT, "What they are sorted by; newest first otherwise.");
const ORDER: (&str, &str, &str) = ("order", r#"{"type": "string", "enum": ["asc", "desc"]}"#, "Which way.");
const OWNER: (&str, &str, &str) = ("owner", r#"{"type": "string", "format": "uuid"}"#, "Only this user's.");
const FORMAT: (&str, &str, &str) = ("format", r#"{"type": "string", "enum": ["csv", "json"]}"#, "CSV otherwise.");
const LIST: &[(&str, &str, &str)] = &[LIMIT, AFTER, WORDS, TAG, STATE, DOMAIN, SLUG, SORTED_BY, ORDER];
const LIST_OF_ALL: &[(&str, &str, &str)] = &[LIMIT, AFTER, WORDS, TAG, STATE, DOMAIN, SLUG, SORTED_BY, ORDER, OWNER];
const RANGE: &[(&str, &str, &str)] = &[
    ("from", TIME, "From this moment on; 30 days before the end otherwise, one day with grain=minute."),
    ("to", TIME, "Before this moment; now otherwise."),
    ("grain", GRAIN, "How fine, at most 3,000 buckets; what suits the range otherwise."),
];
const NEW: &str = r#"{"target": "https://example.org/a/long/address", "slug": "my-link", "tags": ["news"]}"#;

/// Every route of links that is described.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        statuses: &["200", "201"],
        ..post("/links", "Make a short link; 200 when an own one was reused", "NewLink", NEW, "Link")
    },
    list("/links", "The caller's links", "Link[]", LIST),
    post(
        "/links/bulk",
        "Make up to 500 links; one outcome for each",
        "NewLink[]",
        r#"[{"target": "https://example.org/"}]"#,
        "LinkReport",
    ),
    Operation {
        takes: &["text/csv"],
        ..post(
            "/links/import",
            "Import links from CSV or a JSON list; one outcome for each row",
            "LinkRow[]",
            r#"[{"slug": "my-link", "target": "https://example.org/"}]"#,
            "LinkReport",
        )
    },
    Operation {
        gives: &["text/csv"],
        ..list(
            "/links/export",
            "All of the caller's links as a file that an import takes",
            "LinkRow[]",
            &[FORMAT, WORDS, TAG, STATE, DOMAIN, SLUG],
        )
    },
    get("/links/tags", "The caller's tags", "LinkTag[]"),
    get("/links/domains", "Domains on which links can be made", "LinkDomain[]"),
    list("/links/stats", "Clicks of all the caller's links", "LinksStats", RANGE),
    socket("/links/live", "Clicks of all the caller's links over a WebSocket, as they happen"),
    post(
        "/links/reports",
        "Report a link, by its slug or its whole address",
        "NewLinkReport",
        r#"{"link": "my-link", "reason": "phishing", "comment": "It asks for my password."}"#,
        "Empty",
    ),
    get("/links/{id}", "One link", "Link"),
    Operation {
        method: "PATCH",
        ..post("/links/{id}", "Change what is given", "LinkChange", r#"{"target": "https://example.net/"}"#, "Link")
    },
    delete("/links/{id}", "Delete a link; its address answers 410 from then on", "LinkState"),
    Operation {
        gives: &["image/svg+xml", "image/png"],
        ..list(
            "/links/{id}/qr",
            "The short address as a picture for cameras",
            "",
            &[
                ("format", r#"{"type": "string", "enum": ["svg", "png"]}"#, "SVG otherwise."),
                ("size", r#"{"type": "integer", "minimum": 64, "maximum": 2048}"#, "Pixels of a side."),
                ("margin", r#"{"type": "integer", "minimum": 0, "maximum": 16}"#, "Empty modules around it."),
                ("level", r#"{"type": "string", "enum": ["L", "M", "Q", "H"]}"#, "How much of it may be covered."),
                ("dark", TEXT, "A color such as 1a2b3c."),
                ("light", TEXT, "A color such as ffffff."),
                ("download", TEXT, "Anything: as a file to be kept."),
            ],
        )
    },
    list("/links/{id}/history", "What became of a link, newest first", "LinkEvent[]", &[LIMIT, AFTER]),
    list("/links/{id}/stats", "Clicks of a link over time and by everything that is known", "LinkStats", RANGE),
    list("/links/{id}/clicks", "Single clicks, newest first, as far as they are kept", "LinkClick[]", &[LIMIT, AFTER]),
    socket("/links/{id}/live", "Clicks of one link over a WebSocket, as they happen"),
    list("/admin/links", "Everybody's links", "ModeratedLink[]", LIST_OF_ALL),
    optional(post("/admin/links/{id}/block", "Block a link", "Note", r#"{"note": "phishing"}"#, "ModeratedLink")),
    optional(post(
        "/admin/links/{id}/unblock",
        "Let a link lead on again",
        "Note",
        r#"{"note": "a mistake"}"#,
        "ModeratedLink",
    )),
    list(
        "/admin/links/reports",
        "Reports that wait, newest first",
        "FiledLinkReport[]",
        &[LIMIT, AFTER, ("all", TEXT, "Anything: those that were dealt with too.")],
    ),
    post(
        "/admin/links/reports/{id}/resolve",
        "Block the link or dismiss the report",
        "ResolveReport",
        r#"{"action": "block"}"#,
        "ResolvedLinkReports",
    ),
    get("/admin/links/hosts", "Hosts that no link may lead to", "BlockedHost[]"),
    optional(put(
        "/admin/links/hosts/{host}",
        "Block a host and the names below it",
        "Note",
        r#"{"note": "malware"}"#,
        "BlockedHost",
    )),
    delete("/admin/links/hosts/{host}", "Let links lead to a host again", "HostName"),
    put(
        "/admin/links/domains/{host}",
        "Settings of a short domain",
        "LinkDomainSettings",
        r#"{"root": "https://example.org/"}"#,
        "LinkDomainSet",
    ),
];

/// The shapes of links.
pub(super) const SCHEMAS: super::schemas::Table = &[
    (
        "NewLink",
        &[
            "*target text",
            "slug text",
            "domain text",
            "title text",
            "notes text",
            "tags strings",
            "code int",
            "starts_at time",
            "expires_at time",
            "max_clicks int?",
            "password text?",
            "rules LinkRule[]",
            "forward_query bool",
            "enabled bool",
            "reuse bool",
        ],
    ),
    (
        "LinkChange",
        &[
            "target text",
            "title text",
            "notes text",
            "tags strings",
            "code int",
            "starts_at time?",
            "expires_at time?",
            "max_clicks int?",
            "password text?",
            "rules LinkRule[]",
            "forward_query bool",
            "enabled bool",
            "version int",
        ],
    ),
    (
        "Link",
        &[
            "*id text",
            "*short_url text",
            "*domain text",
            "*slug text",
            "*target text",
            "*title text",
            "*notes text",
            "*tags strings",
            "*code int",
            "*starts_at time?",
            "*expires_at time?",
            "*max_clicks int?",
            "*clicks_left int?",
            "*has_password bool",
            "*rules LinkRule[]",
            "*forward_query bool",
            "*state active|disabled|blocked|deleted",
            "*version int",
            "*clicks int",
            "*bot_clicks int",
            "*last_click_at time?",
            "*created_at time",
            "*updated_at time",
        ],
    ),
    (
        "ModeratedLink",
        &[
            "*id text",
            "*short_url text",
            "*domain text",
            "*slug text",
            "*target text",
            "*title text",
            "*tags strings",
            "*code int",
            "*starts_at time?",
            "*expires_at time?",
            "*max_clicks int?",
            "*clicks_left int?",
            "*has_password bool",
            "*rules LinkRule[]",
            "*forward_query bool",
            "*state active|disabled|blocked|deleted",
            "*version int",
            "*clicks int",
            "*bot_clicks int",
            "*last_click_at time?",
            "*created_at time",
            "*updated_at time",
            "*owner uuid?",
        ],
    ),
    // A file holds text, so its numbers and times are text too.
    (
        "LinkRow",
        &[
            "slug text",
            "domain text",
            "target text",
            "title text",
            "notes text",
            "tags strings",
            "code text",
            "starts_at text",
            "expires_at text",
            "max_clicks text",
            "clicks_left text",
            "password_hash text",
            "rules LinkRule[]",
            "forward_query text",
            "state active|disabled|blocked",
            "created_at text",
            "id text",
            "short_url text",
            "clicks text",
        ],
    ),
    ("LinkRule", &["when LinkCondition", "*ways LinkWay[]"]),
    (
        "LinkCondition",
        &[
            "device strings",
            "os strings",
            "language strings",
            "country strings",
            "query text{}",
            "from time",
            "until time",
        ],
    ),
    ("LinkWay", &["*to text", "*weight int"]),
    (
        "LinkOutcome",
        &["*row int", "*status created|unchanged|failed", "id text", "short_url text", "code text", "message text"],
    ),
    ("ClickBucket", &["*at time", "*clicks int", "*bot_clicks int"]),
    ("TopLink", &["*link Link", "*clicks int"]),
    ("DayVisitors", &["*at time", "*visitors int"]),
    ("ClicksBy", &["*value text", "*clicks int"]),
    (
        "FiledLinkReport",
        &[
            "*id text",
            "*reason phishing|malware|spam|illegal|other",
            "*comment text",
            "*reporter uuid?",
            "*at time",
            "*link ModeratedLink",
            "*resolved LinkReportEnd?",
        ],
    ),
    ("LinkReportEnd", &["*at time", "*by uuid", "*action blocked|dismissed", "*note text"]),
    ("ResolvedLinkReports", &["*action blocked|dismissed", "*resolved int"]),
    ("BlockedHost", &["*host text", "*at time", "*by uuid?", "*note text"]),
    ("HostName", &["*host text"]),
    ("LinkDomainSet", &["*domain text", "*settings LinkDomainSettings"]),
    ("LinkState", &["*id text", "*state text"]),
    ("LinkReport", &["*rows int", "*created int", "*unchanged int", "*failed int", "*results LinkOutcome[]"]),
    ("LinkTag", &["*tag text", "*links int"]),
    ("LinkDomain", &["*domain text", "*slug_length int", "*code int", "*anonymous bool"]),
    ("LinkDomainSettings", &["root text", "missing text", "code int", "slug_length int"]),
    (
        "LinksStats",
        &[
            "*from time",
            "*to time",
            "*grain minute|hour|day",
            "*links int",
            "*clicks int",
            "*bot_clicks int",
            "*series ClickBucket[]",
            "*top TopLink[]",
        ],
    ),
    (
        "LinkStats",
        &[
            "*from time",
            "*to time",
            "*grain minute|hour|day",
            "*clicks int",
            "*bot_clicks int",
            "*all_clicks int",
            "*last_click_at time?",
            "*series ClickBucket[]",
            "*visitors DayVisitors[]",
            "*referrers ClicksBy[]",
            "*devices ClicksBy[]",
            "*systems ClicksBy[]",
            "*browsers ClicksBy[]",
            "*languages ClicksBy[]",
            "*countries ClicksBy[]",
            "*bots ClicksBy[]",
            "*targets ClicksBy[]",
        ],
    ),
    (
        "LinkClick",
        &[
            "*link text",
            "*at time",
            "*referrer text?",
            "*device text",
            "*os text",
            "*browser text",
            "*language text?",
            "*country text?",
            "*bot text?",
            "*target text?",
        ],
    ),
    ("LinkEvent", &["*at time", "*what text", "*by text?", "*details object"]),
    ("NewLinkReport", &["*link text", "domain text", "*reason phishing|malware|spam|illegal|other", "comment text"]),
    ("Note", &["note text"]),
    ("ResolveReport", &["*action block|dismiss", "note text"]),
];
