import { err, ok, type Result } from 'neverthrow'
import type { Client, RequestError } from '../client/index.ts'

/** The longest page of a server. */
const PAGE = 1000
/** The beginning of an id: the list of runs in the console shows this many digits. */
const BEGINNING = /^[0-9a-f]{8}[0-9a-f-]{0,27}$/i

/** Whether a text is not an id, and may be the beginning of one. */
export const isBeginning = (text: unknown): text is string =>
  typeof text === 'string' && BEGINNING.test(text)

/** The id that begins with these digits. The server has no search, so all its runs are listed. */
export async function idOf(
  client: Client,
  beginning: string,
  explain: (error: RequestError) => string,
): Promise<Result<string, string>> {
  const wanted = beginning.toLowerCase()
  const found: string[] = []
  for (let cursor: string | undefined | null; cursor !== null; ) {
    const page = await client.runs.list({ limit: PAGE, cursor })
    if (page.isErr()) return err(explain(page.error))
    found.push(...page.value.runs.map(({ run_id }) => run_id).filter((id) => id.startsWith(wanted)))
    cursor = page.value.next
  }
  const [only] = found
  if (only === undefined)
    return err(`No run has an id that begins with ${beginning}. "retrai runs" lists the runs.`)
  if (found.length === 1) return ok(only)
  return err(
    `${found.length} runs have an id that begins with ${beginning}: ${found.slice(0, 5).join(', ')}`,
  )
}
