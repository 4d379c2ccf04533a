import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { oneLine } from './text.ts'

const count = z.int().nonnegative()
const Diagnostic = z.object({
  file: z.string().optional(),
  severity: z.string(),
  message: z.string(),
  range: z.object({ start: z.object({ line: count, character: count }) }).optional(),
  rule: z.string().optional(),
})
/** One finding, as pyright words it; lines and characters are counted from 0. */
export type Diagnostic = z.infer<typeof Diagnostic>
const Report = z.object({
  generalDiagnostics: z.array(Diagnostic),
  summary: z.object({ filesAnalyzed: count, errorCount: count, warningCount: count }),
})
/** What `pyright --outputjson` prints. */
export type PyrightReport = z.infer<typeof Report>

/** Reads the report in the output of pyright: some installations print notes in front of it. */
export function parsePyright(stdout: string): Result<PyrightReport, string> {
  const start = stdout.search(/^\{/m)
  if (start < 0) return err('it printed none')
  try {
    const report = Report.safeParse(JSON.parse(stdout.slice(start)))
    return report.success ? ok(report.data) : err('it is not what pyright is known to print')
  } catch (cause) {
    return err(oneLine(`${cause}`))
  }
}
