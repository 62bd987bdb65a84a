import { admin, type ChatReport, REPORTS_PAGE } from "../api/admin";
import { ApiError } from "../api/http";
import { longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, FormError, OutOfDate, Waiting } from "../ui/sheet";
import { Sure } from "../ui/sure";
import { Owner } from "./owner";

/** Messages that somebody has reported and nobody has looked at yet. */
export function Reports() {
  const reports = useLoaded(admin.reports);
  const { busy, error, run } = useDeed();
  const all = reports.data.value;
  const resolve = (report: ChatReport, note: string): void =>
    run(async () => {
      await unlessDone("no_request", admin.resolveReport(report.room, report.number, note));
      notify("good", "The report was dealt with");
    }, reports.reload);
  const remove = (report: ChatReport): void =>
    run(async () => {
      await unlessDone("unknown_message", admin.deleteMessage(report.room, report.message));
      await unlessDone("no_request", admin.resolveReport(report.room, report.number, "message deleted"));
      notify("good", "The message was deleted");
    }, reports.reload);
  return (
    <Card title="Reports" about="Chat messages that somebody found out of place.">
      <FormError text={error.value} />
      <OutOfDate of={reports} />
      {!all && <Waiting error={reports.error.value} />}
      {all?.length === 0 && <Waiting error={null} empty="Nothing is reported." />}
      {all && all.length > 0 && (
        <ul class="rows">
          {all.map((report) => (
            <li key={`${report.room} ${report.number}`} data-report={`${report.room} ${report.number}`}>
              <div class="row-main">
                <strong>{report.reason || "Without a reason"}</strong>
                <q class="said">{report.about?.text ?? "The message is gone."}</q>
                <small>
                  {longTime(report.at)} · by <Owner id={report.author} /> · reported by{" "}
                  <Owner id={report.reporter} />
                </small>
              </div>
              <div class="row">
                {report.about?.text !== undefined && (
                  <Sure
                    name="Delete the message"
                    ask="Delete it for all"
                    disabled={busy.value}
                    onSure={() => remove(report)}
                  />
                )}
                <button
                  type="button"
                  class="button small"
                  disabled={busy.value}
                  onClick={() => resolve(report, "no action")}
                >
                  Leave it
                </button>
              </div>
            </li>
          ))}
        </ul>
      )}
      {all?.length === REPORTS_PAGE && <p class="muted">Older reports follow when these are answered.</p>}
    </Card>
  );
}

/** A refusal with this code says that somebody else, or an answer that got lost, has done it already. */
async function unlessDone(code: string, deed: Promise<unknown>): Promise<void> {
  try {
    await deed;
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== code) throw error;
  }
}
