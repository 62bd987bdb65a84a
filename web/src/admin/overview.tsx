import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { admin, followTree, type Place } from "../api/admin";
import { ApiError } from "../api/http";
import { Decimal, placesOf } from "../money/decimal";
import { changePercent, compact, direction, grouped, longTime, signedPercent } from "../money/format";
import { useDeed } from "../state/asking";
import { products, tickerOf } from "../state/market";
import { notify } from "../state/toasts";
import { Link } from "../ui/link";
import { Card, FormError, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { badgesOf } from "./market-state";
import { after, rows } from "./tree";

/** Depths of mailboxes change without an event; they are asked for this often. */
const LOOK_EVERY_MS = 3_000;
const RETRY_MS = 2_000;

export function Overview() {
  const places = useSignal<Place[] | null>(null);
  const fault = useSignal<string | null>(null);

  useEffect(() => {
    const stop = new AbortController();
    let retry: ReturnType<typeof setTimeout> | undefined;
    const look = async (): Promise<void> => {
      try {
        places.value = await admin.tree();
        fault.value = null;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        fault.value = error.message;
      }
    };
    const follow = async (): Promise<void> => {
      try {
        await followTree(
          stop.signal,
          (all) => {
            places.value = all;
            fault.value = null;
          },
          (change) => {
            const next = after(places.peek() ?? [], change);
            if (next) places.value = next;
            else void look();
          },
        );
      } catch {
        // Broken off, or not begun: said below, and tried again.
      }
      if (stop.signal.aborted) return;
      fault.value = "The live view broke off. Trying again…";
      retry = setTimeout(() => void follow(), RETRY_MS);
    };
    void follow();
    const timer = setInterval(() => {
      if (!document.hidden) void look();
    }, LOOK_EVERY_MS);
    return () => {
      stop.abort();
      clearTimeout(retry);
      clearInterval(timer);
    };
  }, []);

  const all = places.value ?? [];
  const down = all.filter((place) => place.state !== "running");
  return (
    <>
      <div class="tiles">
        <Tile name="Actors" value={String(all.filter((place) => place.kind === "actor").length)} />
        <Tile name="Not running" value={String(down.length)} bad={down.length > 0} />
        <Tile name="Crashes so far" value={String(all.reduce((sum, place) => sum + place.crashes, 0))} />
        <Tile
          name="Messages waiting"
          value={grouped(String(all.reduce((sum, place) => sum + place.mailbox_depth, 0)))}
        />
      </div>
      <Markets />
      <Card
        title="Actors"
        about="Live: states change here as they change on the server."
        end={fault.value && <span class="badge warn">{fault.value}</span>}
      >
        {places.value ? <TreeTable places={places.value} /> : <Waiting error={fault.value} />}
      </Card>
    </>
  );
}

function Tile({ name, value, bad = false }: { name: string; value: string; bad?: boolean }) {
  return (
    <div class="tile">
      <span>{name}</span>
      <strong class={bad ? "down" : undefined}>{value}</strong>
    </div>
  );
}

function Markets() {
  return (
    <Card title="Markets">
      <div class="table-scroll">
        <table class="list">
          <thead>
            <tr>
              <th scope="col">Market</th>
              <th scope="col">State</th>
              <th scope="col" class="num">
                Last price
              </th>
              <th scope="col" class="num">
                24h change
              </th>
              <th scope="col" class="num">
                24h volume
              </th>
            </tr>
          </thead>
          <tbody>
            {products.value.map((one) => {
              const ticker = tickerOf(one.id).value;
              const change = changePercent(ticker?.open, ticker?.last);
              return (
                <tr key={one.id} data-market={one.id}>
                  <td>
                    <Link to={`/trade/${one.id}`} class="link">
                      {one.id}
                    </Link>
                  </td>
                  <td>
                    <span class="badges">
                      {badgesOf(one).map((badge) => (
                        <span key={badge.name} class={`badge ${badge.kind}`} title={badge.about || undefined}>
                          {badge.name}
                        </span>
                      ))}
                    </span>
                  </td>
                  <td class="num">{ticker ? grouped(ticker.last, placesOf(one.quote_increment)) : "–"}</td>
                  <td class={`num ${direction(change)}`}>{signedPercent(change)}</td>
                  <td class="num">
                    {ticker ? compact(Decimal.from(ticker.volume)) : "–"} <small>{one.base_currency}</small>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

const STATE_KIND: Record<Place["state"], string> = {
  running: "good",
  waiting: "",
  starting: "warn",
  "backing-off": "warn",
  restarting: "warn",
  stopping: "",
  stopped: "",
  faulted: "bad",
};

function TreeTable({ places }: { places: Place[] }) {
  const { busy, error, run } = useDeed();
  return (
    <>
      <FormError text={error.value} />
      <div class="table-scroll">
        <table class="list tree">
          <thead>
            <tr>
              <th scope="col">Place</th>
              <th scope="col">State</th>
              <th scope="col" class="num">
                Starts
              </th>
              <th scope="col" class="num">
                Crashes
              </th>
              <th scope="col" class="num">
                Mailbox
              </th>
              <th scope="col" class="num">
                Lag
              </th>
              <th scope="col">
                <span class="visually-hidden">Action</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {rows(places).map(({ place, depth }) => (
              <tr key={place.path} data-path={place.path}>
                <td style={{ paddingLeft: `${22 + depth * 18}px` }} title={place.path}>
                  <span class={place.kind === "supervisor" ? "tree-branch" : undefined}>{place.name}</span>
                </td>
                <td>
                  <span
                    class={`badge ${STATE_KIND[place.state]}`}
                    title={
                      place.last_crash
                        ? `${longTime(place.last_crash.at / 1000)}: ${place.last_crash.reason}`
                        : undefined
                    }
                  >
                    {place.state.replace("-", " ")}
                  </span>
                </td>
                <td class="num">{place.incarnation}</td>
                <td class={place.crashes > 0 ? "num down" : "num muted"}>{place.crashes}</td>
                <td class="num muted">
                  {place.mailbox_capacity > 0
                    ? `${grouped(String(place.mailbox_depth))} / ${grouped(String(place.mailbox_capacity))}`
                    : "–"}
                </td>
                <td class="num muted">{place.lag ?? "–"}</td>
                <td class="action">
                  {(place.state === "faulted" || place.state === "stopped") && (
                    <Sure
                      name="Revive"
                      ask="Start it again"
                      disabled={busy.value}
                      onSure={() =>
                        run(async () => {
                          await admin.revive(place.path);
                          notify("good", `${place.name} was started again`);
                        })
                      }
                    />
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
