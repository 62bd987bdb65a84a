import { account } from "../api/account";
import { longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { leave } from "../state/session";
import { notify } from "../state/toasts";
import { Card, FormError, OutOfDate, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { deviceName } from "./device";

/** Where the user is signed in. */
export function Sessions() {
  const places = useLoaded(account.places);
  const { busy, error, run } = useDeed();
  const end = (id: string): void =>
    run(async () => {
      await account.endPlace(id);
      notify("plain", "That session was signed out");
      await places.reload();
    });
  const endAll = (): void =>
    run(async () => {
      await account.signOutEverywhere();
      leave();
    });
  return (
    <Card
      title="Sessions"
      about="Where you are signed in. Signing one out counts at once."
      end={<Sure name="Sign out everywhere" ask="Yes, here too" disabled={busy.value} onSure={endAll} />}
    >
      <OutOfDate of={places} />
      {places.data.value ? (
        <ul class="rows">
          {places.data.value.map((place) => (
            <li key={place.id}>
              <div class="row-main">
                <strong title={place.device}>
                  {deviceName(place.device)} {place.current && <span class="badge good">This one</span>}
                </strong>
                <small>
                  {place.address || "unknown address"} · last used {longTime(place.last_used)} · since{" "}
                  {longTime(place.created_at)}
                </small>
              </div>
              {!place.current && (
                <button
                  type="button"
                  class="button small"
                  disabled={busy.value}
                  onClick={() => end(place.id)}
                >
                  Sign out
                </button>
              )}
            </li>
          ))}
        </ul>
      ) : (
        <Waiting error={places.error.value} />
      )}
      <FormError text={error.value} />
    </Card>
  );
}
