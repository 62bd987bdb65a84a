/** What those who run the venue ask. */
import { ApiError, credentials, request, requestPage } from "./http";
import type { Role, User } from "./types";

export interface AdminUser extends User {
  role: Role;
  frozen: boolean;
  demo: boolean;
  last_sign_in_at: string | null;
}

export interface AdminUserDetail extends AdminUser {
  sessions: number;
  api_keys: number;
  balances: { currency: string; available: string; hold: string }[];
}

export interface AuditRow {
  id: number;
  at: string;
  action: string;
  actor: string | null;
  actor_email: string | null;
  user: string | null;
  user_email: string | null;
  address: string | null;
  detail: unknown;
}

export interface Setting {
  key: string;
  version: number;
  value: unknown;
  set_at: string | null;
  set_by: string | null;
  default?: unknown;
  about?: string;
}

export interface SettingHistory extends Setting {
  history: { version: number; value: unknown; set_at: string; set_by: string | null }[];
}

export interface PendingWithdrawal {
  id: string;
  amount: string;
  currency: string;
  fee: string;
  network: string;
  user_id: string;
  crypto_address: string;
  /** What the receiver needs beside the address. */
  destination_tag: string | null;
  /** Once it is on its way. */
  crypto_transaction_hash: string | null;
  created_at: string;
  stage: string;
  needs_approval: boolean;
}

/** A chat message that somebody reported. Room and message as chat names them. */
export interface ChatReport {
  room: string;
  number: number;
  message: number;
  author: string;
  reporter: string;
  reason: string;
  at: string;
  /** The message; without a text when it was deleted. */
  about: { text?: string } | null;
}

export type PlaceState =
  | "waiting"
  | "starting"
  | "running"
  | "backing-off"
  | "restarting"
  | "stopping"
  | "stopped"
  | "faulted";

/** One place of the supervision tree; times are microseconds since 1970. */
export interface Place {
  path: string;
  parent: string | null;
  name: string;
  kind: "supervisor" | "actor";
  state: PlaceState;
  incarnation: number;
  crashes: number;
  last_crash: { at: number; reason: string } | null;
  running_since: number | null;
  mailbox_depth: number;
  mailbox_capacity: number;
  lag: number | null;
}

export interface PlaceChange {
  at: number;
  path: string;
  state: PlaceState;
  incarnation: number;
  reason: string | null;
}

/** How many users a page of the list has. */
export const USERS_PAGE = 25;
/** How many rows a page of the audit log has. */
export const AUDIT_PAGE = 50;
/** How many withdrawals a page of the list has: the most that the server gives, as the newest may wait. */
export const WITHDRAWALS_PAGE = 1_000;
/** How many reports are shown at once: the most that the server gives. */
export const REPORTS_PAGE = 200;

const id = encodeURIComponent;

export const admin = {
  users: (email: string, after: string | null) =>
    requestPage<AdminUser>(`/admin/users?limit=${USERS_PAGE}&email=${id(email)}`, after),
  user: (user: string) => request<AdminUserDetail>("GET", `/admin/users/${id(user)}`),
  setRole: (user: string, role: Role) => request<AdminUser>("PUT", `/admin/users/${id(user)}/role`, { role }),
  freeze: (user: string, reason: string, cancel_orders: boolean) =>
    request<{ canceled_orders: number }>("POST", `/admin/users/${id(user)}/freeze`, {
      reason,
      cancel_orders,
    }),
  unfreeze: (user: string) => request<unknown>("POST", `/admin/users/${id(user)}/unfreeze`),
  signOut: (user: string) =>
    request<{ ended_sessions: string[] }>("POST", `/admin/users/${id(user)}/sign-out`),

  audit: (filter: { action: string; user: string }, after: string | null) => {
    const action = filter.action ? `&action=${id(filter.action)}` : "";
    const user = filter.user ? `&user=${id(filter.user)}` : "";
    return requestPage<AuditRow>(`/admin/audit?limit=${AUDIT_PAGE}${action}${user}`, after);
  },

  settings: () => request<Setting[]>("GET", "/admin/config"),
  setting: (key: string) => request<SettingHistory>("GET", `/admin/config/${id(key)}`),
  set: (key: string, value: unknown, version: number) =>
    request<Setting>("PUT", `/admin/config/${id(key)}`, { value, version }),

  /** Oldest first. */
  withdrawals: (after: string | null) =>
    requestPage<PendingWithdrawal>(`/admin/withdrawals?limit=${WITHDRAWALS_PAGE}`, after),
  approve: (withdrawal: string) => request<unknown>("POST", `/admin/withdrawals/${id(withdrawal)}/approve`),
  reject: (withdrawal: string) => request<unknown>("POST", `/admin/withdrawals/${id(withdrawal)}/reject`),

  reports: () => request<ChatReport[]>("GET", `/admin/chat/reports?limit=${REPORTS_PAGE}`),
  resolveReport: (room: string, number: number, note: string) =>
    request<unknown>("POST", `/chat/rooms/${id(room)}/reports/${number}/resolve`, { note }),
  deleteMessage: (room: string, message: number) =>
    request<unknown>("DELETE", `/chat/rooms/${id(room)}/messages/${message}`),

  tree: () => request<Place[]>("GET", "/admin/tree"),
  revive: (path: string) =>
    request<unknown>("POST", `/admin/tree/${path.split("/").map(id).join("/")}/revive`),
};

/**
 * Follows the tree until `signal` ends it: first every place, then each change. An `EventSource` cannot say who
 * asks, hence a stream.
 */
export async function followTree(
  signal: AbortSignal,
  onTree: (places: Place[]) => void,
  onChange: (change: PlaceChange) => void,
): Promise<void> {
  const response = await fetch("/v1/admin/tree/events", {
    headers: credentials(),
    signal,
    cache: "no-store",
  });
  if (!response.ok || !response.body) {
    throw new ApiError(response.status, `The server answered with status ${response.status}.`);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)?.[1];
      const data = /^data: (.*)$/m.exec(event)?.[1];
      if (!data) continue;
      if (name === "tree") onTree(JSON.parse(data) as Place[]);
      if (name === "change") onChange(JSON.parse(data) as PlaceChange);
    }
  }
}
