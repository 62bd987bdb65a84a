import { useRef } from "preact/hooks";
import { adminLinks, type LinkReport, REPORTS_PAGE } from "../api/admin-links";
import { counted, longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, FormError, OutOfDate, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { Target } from "./link-parts";
import { Owner } from "./owner";

interface Props {
  /** Counts what was done elsewhere on the page. */
  done: number;
  onChanged: () => void;
  onOwner: (owner: string) => void;
}

/** Links that somebody has reported and nobody has judged yet. */
export function LinkReports({ done, onChanged, onOwner }: Props) {
  const reports = useLoaded(adminLinks.reports, done);
  const all = reports.data.value;
  // One judgement answers all reports about a link, so they stand together.
  const byLink = new Map<string, LinkReport[]>();
  for (const report of all ?? []) {
    byLink.set(report.link.id, [...(byLink.get(report.link.id) ?? []), report]);
  }
  return (
    <Card
      title="Reported links"
      about="Anybody may report a link. What you decide answers everything that was said about it."
      end={byLink.size > 0 && <span class="badge warn">{byLink.size} to judge</span>}
    >
      <OutOfDate of={reports} />
      {!all && <Waiting error={reports.error.value} />}
      {all?.length === 0 && <Waiting error={null} empty="Nothing is reported." />}
      {byLink.size > 0 && (
        <ul class="rows">
          {[...byLink].map(([id, about]) => (
            <Reported key={id} reports={about} onChanged={onChanged} onOwner={onOwner} />
          ))}
        </ul>
      )}
      {all?.length === REPORTS_PAGE && <p class="muted">Older reports follow when these are answered.</p>}
    </Card>
  );
}

function Reported({
  reports,
  onChanged,
  onOwner,
}: {
  reports: LinkReport[];
  onChanged: () => void;
  onOwner: (owner: string) => void;
}) {
  const { busy, error, run } = useDeed();
  const note = useRef<HTMLInputElement>(null);
  const newest = reports[0];
  if (!newest) return null;
  const { link } = newest;
  const judge = (action: "block" | "dismiss"): void =>
    run(async () => {
      const { resolved } = await adminLinks.resolve(newest.id, action, note.current?.value.trim() ?? "");
      const what = `${counted(resolved, "report")} answered`;
      notify("good", action === "block" ? "The link is blocked" : "The link stays as it is", what);
      onChanged();
    });
  return (
    <li data-reported={link.id} class="reported">
      <div class="row-main">
        <strong>
          {link.short_url} {link.state !== "active" && <span class="badge">{link.state}</span>}
        </strong>
        <Target link={link} />
        <ul class="reasons">
          {reports.map((report) => (
            <li key={report.id}>
              <span class="badge warn">{report.reason}</span>{" "}
              {report.comment && <q class="said">{report.comment}</q>}{" "}
              <small>
                {longTime(report.at)} by <Owner id={report.reporter} />
              </small>
            </li>
          ))}
        </ul>
        <small>
          made {longTime(link.created_at)} by <Owner id={link.owner} onAll={onOwner} />
        </small>
        <FormError text={error.value} />
      </div>
      {/* No form: Enter in the note decides nothing. */}
      <div class="judge">
        <input
          ref={note}
          aria-label="Note"
          placeholder="Note (for the records)"
          maxLength={500}
          readOnly={busy.value}
        />
        <Sure
          name="Block the link"
          ask="Nobody may follow it"
          disabled={busy.value}
          onSure={() => judge("block")}
        />
        <button type="button" class="button small" disabled={busy.value} onClick={() => judge("dismiss")}>
          Dismiss
        </button>
      </div>
    </li>
  );
}
