import { admin, type ChatReport } from "../api/admin";
import { longTime } from "../money/format";
import { useDeed, useLoaded } from "../state/asking";
import { notify } from "../state/toasts";
import { Card, FormError, Sure, Waiting } from "../ui/sheet";

/** Messages that somebody has reported and nobody has looked at yet. */
export function Reports() {
  const reports = useLoaded(admin.reports);
  const { busy, error, run } = useDeed();
  const all = reports.data.value;
  const resolve = (report: ChatReport, note: string): void =>
    run(async () => {
      await admin.resolveReport(report.room, report.number, note);
      notify("good", "The report was dealt with");
      await reports.reload();
    });
  const remove = (report: ChatReport): void =>
    run(async () => {
      await admin.deleteMessage(report.room, report.message);
      await admin.resolveReport(report.room, report.number, "message deleted");
      notify("good", "The message was deleted");
      await reports.reload();
    });
  return (
    <Card title="Reports" about="Chat messages that somebody found out of place.">
      <FormError text={error.value} />
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
                  {longTime(report.at)} · by {report.author} · reported by {report.reporter}
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
    </Card>
  );
}
