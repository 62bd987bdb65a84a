import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import {
  adminLinks,
  type BlockedHost,
  LINKS_PAGE,
  type LinkFilter,
  type ModeratedLink,
} from "../api/admin-links";
import { counted, longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { usePaged } from "../state/paging";
import { notify } from "../state/toasts";
import { Card, FormError, OutOfDate, ShowMore, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { SureWhy } from "../ui/sure-why";
import { blockedHostOf } from "./hosts";
import { BlockedHosts } from "./link-hosts";
import { Target } from "./link-parts";
import { LinkReports } from "./link-reports";
import { Owner } from "./owner";

/** How long somebody may pause in typing before the server is asked, ms. */
const PAUSE_MS = 250;

/** Order among the short links: what was reported, everybody's links, hosts that no link may lead to. */
export function Links() {
  const hosts = useLoaded(adminLinks.hosts);
  // Counts what was done here, so that each part shows what another one did.
  const done = useSignal(0);
  const filter = useSignal<LinkFilter>({ text: "", state: "", owner: "" });
  const changed = (): void => {
    done.value += 1;
  };
  const ofOwner = (owner: string): void => {
    filter.value = { text: "", state: "", owner };
    document.getElementById("all-links")?.scrollIntoView({ block: "start" });
  };
  return (
    <>
      <LinkReports done={done.value} onChanged={changed} onOwner={ofOwner} />
      <div id="all-links">
        <LinkList
          filter={filter.value}
          onFilter={(next) => {
            filter.value = next;
          }}
          blocked={hosts.data.value ?? []}
          done={done.value}
          onChanged={changed}
          onOwner={ofOwner}
        />
      </div>
      <BlockedHosts hosts={hosts} />
    </>
  );
}

interface ListProps {
  filter: LinkFilter;
  onFilter: (filter: LinkFilter) => void;
  blocked: readonly BlockedHost[];
  done: number;
  onChanged: () => void;
  onOwner: (owner: string) => void;
}

function LinkList({ filter, onFilter, blocked, done, onChanged, onOwner }: ListProps) {
  const list = usePaged(LINKS_PAGE, adminLinks.list);
  const { busy, error, run } = useDeed();

  useEffect(() => {
    const timer = setTimeout(() => void list.ask(filter), list.data.peek() ? PAUSE_MS : 0);
    return () => clearTimeout(timer);
  }, [filter, done]);

  const replace = (link: ModeratedLink): void => {
    list.data.value = (list.data.peek() ?? []).map((one) => (one.id === link.id ? link : one));
    onChanged();
  };
  const block = (link: ModeratedLink, note: string): void =>
    run(async () => {
      replace(await adminLinks.block(link.id, note));
      notify("good", "The link is blocked");
    });
  const unblock = (link: ModeratedLink): void =>
    run(async () => {
      const now = await adminLinks.unblock(link.id);
      replace(now);
      if (now.state === "active") notify("good", "The link leads on again");
      else notify("plain", "The link is not blocked any more", "Its owner has switched it off.");
    });

  const all = list.data.value;
  return (
    <Card
      title="Links"
      about="Everybody's. What their owners noted for themselves is not shown."
      end={
        <div class="row filters">
          <select
            aria-label="State"
            class="search"
            value={filter.state}
            onChange={(event) => onFilter({ ...filter, state: event.currentTarget.value })}
          >
            <option value="">All states</option>
            <option value="active">Active</option>
            <option value="disabled">Switched off</option>
            <option value="blocked">Blocked</option>
          </select>
          <input
            class="search"
            type="search"
            placeholder="Slug, target or title"
            aria-label="Search the links"
            value={filter.text}
            onInput={(event) => onFilter({ ...filter, text: event.currentTarget.value })}
          />
        </div>
      }
    >
      {filter.owner && (
        <p class="filtered">
          Only those of user <code>{filter.owner}</code>{" "}
          <button type="button" class="link" onClick={() => onFilter({ ...filter, owner: "" })}>
            show everybody's
          </button>
        </p>
      )}
      <FormError text={error.value} />
      <OutOfDate of={list} />
      {!all && <Waiting error={list.error.value} />}
      {all?.length === 0 && <Waiting error={null} empty="There are no such links." />}
      {all && all.length > 0 && (
        <ul class="rows">
          {all.map((link) => {
            const host = blockedHostOf(link, blocked);
            return (
              <li key={link.id} data-link={link.id}>
                <div class="row-main">
                  <strong>
                    {link.short_url} <StateBadge state={link.state} host={host} />
                  </strong>
                  <Target link={link} />
                  <small>
                    {counted(link.clicks, "click")} · made {longTime(link.created_at)} by{" "}
                    <Owner id={link.owner} onAll={filter.owner ? undefined : onOwner} />
                  </small>
                </div>
                {link.state === "blocked" ? (
                  <Sure
                    name="Unblock"
                    ask="Let it lead on"
                    disabled={busy.value}
                    onSure={() => unblock(link)}
                  />
                ) : (
                  <SureWhy
                    name="Block"
                    ask="Block the link"
                    disabled={busy.value}
                    onSure={(why) => block(link, why)}
                  />
                )}
              </li>
            );
          })}
        </ul>
      )}
      <ShowMore of={list} />
    </Card>
  );
}

function StateBadge({ state, host }: { state: ModeratedLink["state"]; host: string | null }) {
  if (state === "blocked") return <span class="badge bad">blocked</span>;
  if (state === "disabled") return <span class="badge">switched off</span>;
  // It counts as blocked, and comes back when its host does.
  if (host) return <span class="badge bad">host blocked: {host}</span>;
  return <span class="badge good">active</span>;
}
