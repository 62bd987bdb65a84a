import { adminLinks, type LinkReport, REPORTS_PAGE } from "../api/admin-links";
import { counted, longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, FormError, Waiting } from "../ui/sheet";
import { Owner, Target } from "./link-parts";

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
  const newest = reports[0];
  if (!newest) return null;
  const { link } = newest;
  const judge = (event: SubmitEvent): void => {
    event.preventDefault();
    const action = (event.submitter as HTMLButtonElement | null)?.value === "block" ? "block" : "dismiss";
    const note = String(new FormData(event.currentTarget as HTMLFormElement).get("note") ?? "").trim();
    run(async () => {
      const { resolved } = await adminLinks.resolve(newest.id, action, note);
      const what = `${counted(resolved, "report")} answered`;
      notify("good", action === "block" ? "The link is blocked" : "The link stays as it is", what);
      onChanged();
    });
  };
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
      <form class="judge" onSubmit={judge}>
        <input name="note" aria-label="Note" placeholder="Note (for the records)" maxLength={500} />
        <button type="submit" value="block" class="button small danger solid" disabled={busy.value}>
          Block the link
        </button>
        <button type="submit" value="dismiss" class="button small" disabled={busy.value}>
          Dismiss
        </button>
      </form>
    </li>
  );
}
