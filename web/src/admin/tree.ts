/** The supervision tree as rows, and what a change does to it. */
import type { Place, PlaceChange } from "../api/admin";

export interface Row {
  place: Place;
  depth: number;
}

/** Parents before their children, each with its depth; a place whose parent is unknown stands at the root. */
export function rows(places: readonly Place[]): Row[] {
  const known = new Set(places.map((place) => place.path));
  const children = new Map<string | null, Place[]>();
  for (const place of places) {
    const parent = place.parent !== null && known.has(place.parent) ? place.parent : null;
    children.set(parent, [...(children.get(parent) ?? []), place]);
  }
  const under = (parent: string | null, depth: number): Row[] =>
    (children.get(parent) ?? []).flatMap((place) => [{ place, depth }, ...under(place.path, depth + 1)]);
  return under(null, 0);
}

/** The places after a change; null when it tells of a place that is not known, so the tree must be asked for again. */
export function after(places: readonly Place[], change: PlaceChange): Place[] | null {
  if (!places.some((place) => place.path === change.path)) return null;
  return places.map((place) => {
    if (place.path !== change.path) return place;
    const crashed = change.reason !== null;
    return {
      ...place,
      state: change.state,
      incarnation: change.incarnation,
      crashes: place.crashes + (crashed ? 1 : 0),
      last_crash: crashed ? { at: change.at, reason: change.reason ?? "" } : place.last_crash,
      running_since: change.state === "running" ? change.at : place.running_since,
    };
  });
}
