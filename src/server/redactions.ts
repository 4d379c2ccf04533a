import type { Artifacts } from '../artifacts/artifacts.ts'
import type { ArtifactSource, Redactions } from '../http/deps.ts'
import type { Logger } from '../lib/logger.ts'
import { forgetRedacted } from '../projections/forget-redacted.ts'
import type { SqliteReadModel } from '../projections/sqlite-read-model.ts'
import { holdsAny } from '../redaction/places.ts'
import { redactRun } from '../redaction/redact-run.ts'
import type { Forget, Redactor } from '../redaction/redactor.ts'
import type { EventStore } from '../store/event-store.ts'

type Deps = {
  /** The log as it is stored, where redactions are recorded. */
  readonly ledger: EventStore
  /** The log without redacted text, which everything else reads. */
  readonly store: EventStore
  readonly redactor: Redactor
  readonly readModel: SqliteReadModel
  readonly artifacts: ArtifactSource & Pick<Artifacts, 'remove'>
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly log: Logger
}

/** Redactions for HTTP. Call `start` after every part that keeps texts has called `onRedacted`. */
export function createRedactions(deps: Deps): Redactions & { start(): void } {
  const { ledger, store, redactor, artifacts, now } = deps
  const forgetters: ((runId: string) => void)[] = []
  const forgetAll: Forget = async (redactions) => {
    for (const runId of new Set(redactions.map(({ record }) => record.payload.run_id))) {
      for (const forget of forgetters) forget(runId)
    }
  }
  return {
    redact: (request, author) =>
      redactRun(
        { ledger, store, redactor, now, artifactHolds: artifactHolds(artifacts) },
        request,
        author,
      ),
    ofRun: (runId) => redactor.ofRun(runId),
    asOfNow: (event) => redactor.apply(event),
    onRedacted: (forget) => {
      forgetters.push(forget)
    },
    start: () => redactor.start([forgetRedacted(deps), forgetAll, removeArtifacts(artifacts)]),
  }
}

const removeArtifacts =
  (artifacts: Pick<Artifacts, 'remove'>): Forget =>
  async (redactions) => {
    for (const { record } of redactions) {
      const { artifact } = record.payload
      if (artifact !== undefined) await artifacts.remove(artifact)
    }
  }

/** Searches artifacts. One that cannot be read now may hold the text, so it counts as holding it. */
function artifactHolds(artifacts: ArtifactSource) {
  return (sha256: string, texts: readonly string[]): Promise<boolean> =>
    searchArtifact(artifacts, sha256, texts).catch(() => true)
}

/** Also finds a text across the borders of chunks. */
async function searchArtifact(
  artifacts: ArtifactSource,
  sha256: string,
  texts: readonly string[],
): Promise<boolean> {
  const found = await artifacts.read(sha256)
  if (found === null) return false
  const longest = Math.max(...texts.map((text) => text.length))
  let rest = ''
  for await (const chunk of found.stream.setEncoding('utf8')) {
    rest = rest.slice(-longest) + String(chunk)
    if (holdsAny(rest, texts)) return true
  }
  return false
}
