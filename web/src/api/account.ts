/** What signed-in people ask about their own account. */
import { canonical } from "../money/decimal";
import { request } from "./http";
import type { User } from "./types";

export interface SignedInPlace {
  id: string;
  current: boolean;
  device: string;
  address: string;
  created_at: string;
  last_used: string;
  expires_at: string;
}

export type Permission = "view" | "trade" | "transfer" | "links";

export interface ApiKey {
  key: string;
  label: string;
  permissions: Permission[];
  networks: string[];
  created_at: string;
  expires_at: string | null;
  last_used: string | null;
  last_used_from: string | null;
}

export interface NewApiKey {
  label: string;
  passphrase: string;
  permissions: Permission[];
  networks: string[];
  expires_at?: string;
}

export interface TotpSeed {
  secret: string;
  uri: string;
  /** A picture of `uri` to scan, SVG. */
  qr: string;
}

export interface Identity {
  provider: string;
  subject: string;
  linked_at: string;
}

export type OutletKind = "email" | "line" | "webhook";
export type EventKind = "security" | "fill" | "transfer" | "price_alert";

export interface Outlet {
  outlet: OutletKind;
  url: string;
  events: EventKind[];
  /** In the answer to a new webhook alone. */
  secret?: string;
}

export interface PriceAlert {
  id: number;
  product_id: string;
  direction: "above" | "below";
  price: string;
  created_at: string;
}

export interface FailedMessage {
  id: number;
  outlet: OutletKind;
  event: EventKind;
  created_at: string;
  attempts: number;
  error: string;
}

const id = encodeURIComponent;

export const account = {
  setProfile: (name: string) => request<User>("PUT", "/auth/me", { name }),
  setPhoto: (image: Blob) => request<User>("PUT", "/auth/me/photo", image),
  removePhoto: () => request<User>("PUT", "/auth/me", { photo: "" }),
  changePassword: (old_password: string, new_password: string) =>
    request<{ ended_sessions: string[] }>("POST", "/auth/password", { old_password, new_password }),

  beginEmail: (email: string, password?: string) =>
    request<unknown>("POST", "/auth/email", password === undefined ? { email } : { email, password }),
  confirmEmail: (email: string, code: string) =>
    request<User>("POST", "/auth/email/confirm", { email, code }),

  places: () => request<SignedInPlace[]>("GET", "/auth/sessions"),
  endPlace: (place: string) => request<unknown>("DELETE", `/auth/sessions/${id(place)}`),
  signOutEverywhere: () => request<unknown>("POST", "/auth/sign-out-all"),

  secondFactor: () => request<{ enabled: boolean }>("GET", "/auth/totp"),
  beginSecondFactor: () => request<TotpSeed>("POST", "/auth/totp"),
  confirmSecondFactor: (code: string) =>
    request<{ recovery_codes: string[] }>("POST", "/auth/totp/confirm", { code }),
  removeSecondFactor: (password: string, code: string) =>
    request<unknown>("DELETE", "/auth/totp", { password, code }),

  identities: () => request<Identity[]>("GET", "/auth/identities"),
  link: (provider: string, back: string) =>
    request<{ url: string }>("POST", `/auth/identities/${id(provider)}`, { back }),
  unlink: (provider: string) => request<unknown>("DELETE", `/auth/identities/${id(provider)}`),

  keys: () => request<ApiKey[]>("GET", "/auth/keys"),
  createKey: (key: NewApiKey) => request<ApiKey & { secret: string }>("POST", "/auth/keys", key),
  revokeKey: (key: string) => request<unknown>("DELETE", `/auth/keys/${id(key)}`),

  outlets: () => request<Outlet[]>("GET", "/notifications/outlets"),
  putOutlet: (outlet: OutletKind, events: EventKind[], url?: string) =>
    request<Outlet>(
      "PUT",
      `/notifications/outlets/${outlet}`,
      url === undefined ? { events } : { events, url },
    ),
  removeOutlet: (outlet: OutletKind) => request<unknown>("DELETE", `/notifications/outlets/${outlet}`),
  alerts: () => request<PriceAlert[]>("GET", "/notifications/alerts"),
  /** `price` as somebody wrote it. */
  addAlert: (product_id: string, direction: "above" | "below", price: string) =>
    request<unknown>("POST", "/notifications/alerts", { product_id, direction, price: canonical(price) }),
  removeAlert: (alert: number) => request<unknown>("DELETE", `/notifications/alerts/${alert}`),
  failed: () => request<FailedMessage[]>("GET", "/notifications/failed"),
  retry: (message: number) => request<unknown>("POST", `/notifications/failed/${message}/retry`),
};
