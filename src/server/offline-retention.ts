import { join } from 'node:path'
import { err, ok } from 'neverthrow'
import type { Logger } from 'pino'
import { createAudit } from '../audit/audit.ts'
import { signingWith } from '../checkpoints/keyring.ts'
import { OwnLog } from '../checkpoints/witness/own-log.ts'
import { removeDisposable } from '../lib/disposable-file.ts'
import { RecentArtifacts } from '../retention/recent-artifacts.ts'
import { createRetention } from '../retention/retain-runs.ts'
import { around } from './around.ts'
import { openIdentity } from './data-folder.ts'
import { createRemover } from './join-rooms.ts'
import { openArtifacts } from './open-artifacts.ts'
import { date, now, openHistory } from './open-history.ts'
import type { Settings } from './settings.ts'
import { readWitnessFile } from './witnessing.ts'

/** The retention of a log that no server uses, with its exports. The error is a text for people. */
export async function openRetention(settings: Settings, log: Logger, opened: AsyncDisposableStack) {
  const identity = await openIdentity(settings)
  if (identity.isErr()) return err(identity.error)
  const witnesses = await readWitnessFile(settings.RETRAI_WITNESSES)
  if (witnesses.isErr()) return err(witnesses.error)
  const { keyring, serverId } = identity.value
  const history = await openHistory(settings, { log, opened, sign: signingWith(keyring) })
  if (history.isErr()) return err(history.error)
  const { ledger, redactor, retention, store, readModel, tags, projector } = history.value
  const places = openArtifacts(settings, ledger)
  if (places.isErr()) return err(places.error)
  const artifacts = new RecentArtifacts(around.artifacts(places.value.artifacts))
  if (!(await projector.caughtUpOnce())) return err('The log cannot be read.')
  const made = { retention, ledger, redactor }
  const remover = createRemover({ artifacts, readModel }, made, async () => {
    // The next server makes the index again, without the words of the runs that are gone.
    removeDisposable(join(settings.RETRAI_DATA_DIR, 'search.sqlite'))
  })
  opened.defer(() => remover.stop())
  const needed = witnesses.value?.quorum ?? 1
  const ownLog = new OwnLog({ store, keyring, serverId, needed })
  return ok({
    ...createRetention({ retention, remover, store, readModel, tags, now }),
    /** Begins to remove runs. */
    start: () => remover.start(),
    /** Waits for the runs that are recorded as removed. @returns whether all are gone */
    settled: () => remover.settled(REMOVED_WITHIN_MS),
    audit: createAudit({ store, keyring, artifacts, clock: date, ownLog }),
  })
}

const REMOVED_WITHIN_MS = 600_000
