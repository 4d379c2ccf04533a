import { ResultAsync } from 'neverthrow'
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
  /** Where redactions are recorded. */
  readonly ledger: EventStore
  /** What all else reads. */
  readonly store: EventStore
  readonly redactor: Redactor
  readonly readModel: SqliteReadModel
  readonly artifacts: ArtifactSource & Pick<Artifacts, 'remove'>
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly log: Logger
}

/** Redactions as HTTP offers them, and what has to be begun once all who keep something have said so. */
export function createRedactions(deps: Deps): Redactions & { start(): void } {
  const { ledger, store, redactor, artifacts, now } = deps
  const forgetful: ((runId: string) => void)[] = []
  const forgetAll: Forget = async (redactions) => {
    for (const runId of new Set(redactions.map(({ record }) => record.payload.run_id))) {
      for (const forget of forgetful) forget(runId)
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
      forgetful.push(forget)
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

/** Looks through an artifact; text that stands across two chunks is found too. */
function artifactHolds(artifacts: ArtifactSource) {
  return async (sha256: string, texts: readonly string[]): Promise<boolean> => {
    const found = await ResultAsync.fromPromise(artifacts.read(sha256), String)
    if (found.isErr() || found.value === null) return false
    const longest = Math.max(...texts.map((text) => text.length))
    const { stream } = found.value
    let rest = ''
    for await (const chunk of stream.setEncoding('utf8')) {
      rest = rest.slice(-longest) + String(chunk)
      if (holdsAny(rest, texts)) return true
    }
    return false
  }
}
