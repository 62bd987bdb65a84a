/** What those who keep order among the short links ask. */
import { request, requestPage } from "./http";

/** A link as moderators see it. */
export interface ModeratedLink {
  id: string;
  short_url: string;
  target: string;
  title: string;
  tags: string[];
  /** Other targets for some visitors. */
  rules: { ways: { to: string }[] }[];
  state: "active" | "disabled" | "blocked";
  clicks: number;
  created_at: string;
  /** Whose it is; nobody's when it was made without an account. */
  owner: string | null;
}

export interface LinkReport {
  id: string;
  reason: string;
  comment: string;
  reporter: string | null;
  at: string;
  link: ModeratedLink;
}

export interface BlockedHost {
  host: string;
  at: string;
  by: string | null;
  note: string;
}

export interface LinkFilter {
  text: string;
  /** A state, or empty for all. */
  state: string;
  /** A user's id, or empty for everybody. */
  owner: string;
}

/** How many links a page of the list has. */
export const LINKS_PAGE = 25;
/** How many waiting reports are shown at once. */
export const REPORTS_PAGE = 100;

const id = encodeURIComponent;

export const adminLinks = {
  reports: () => request<LinkReport[]>("GET", `/admin/links/reports?limit=${REPORTS_PAGE}`),
  /** Answers all waiting reports about the same link. */
  resolve: (report: string, action: "block" | "dismiss", note: string) =>
    request<{ resolved: number }>("POST", `/admin/links/reports/${id(report)}/resolve`, { action, note }),

  list: ({ text, state, owner }: LinkFilter, after: string | null) => {
    const query = [
      `limit=${LINKS_PAGE}`,
      ...(text ? [`q=${id(text)}`] : []),
      ...(state ? [`state=${id(state)}`] : []),
      ...(owner ? [`owner=${id(owner)}`] : []),
    ];
    return requestPage<ModeratedLink>(`/admin/links?${query.join("&")}`, after);
  },
  block: (link: string, note: string) =>
    request<ModeratedLink>("POST", `/admin/links/${id(link)}/block`, { note }),
  unblock: (link: string) => request<ModeratedLink>("POST", `/admin/links/${id(link)}/unblock`),

  hosts: () => request<BlockedHost[]>("GET", "/admin/links/hosts"),
  blockHost: (host: string, note: string) =>
    request<BlockedHost>("PUT", `/admin/links/hosts/${id(host)}`, { note }),
  unblockHost: (host: string) => request<unknown>("DELETE", `/admin/links/hosts/${id(host)}`),
};
