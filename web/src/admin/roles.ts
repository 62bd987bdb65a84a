import type { Role } from "../api/types";

/** Each role may what those before it may. */
export const RANK: Record<Role, number> = { user: 0, support: 1, moderator: 2, admin: 3 };

/** Whether the administration has something for this role. The server decides; this only hides what it would refuse. */
export function mayRun(role: Role | undefined): boolean {
  return RANK[role ?? "user"] >= RANK.support;
}
