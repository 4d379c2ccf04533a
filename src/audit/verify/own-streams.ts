import { artifactOfStream } from '../../log/artifact-index.ts'
import { SERVERS_STREAM } from '../../log/ledger-heads.ts'
import { LOG_ID_STREAM } from '../../log/log-id.ts'
import { RUN_STREAM_PREFIX, runIdOf } from '../../log/run-log.ts'
import { CHECKPOINT_STREAM } from '../checkpoints/checkpoint-stream.ts'
import { ledgerOf } from '../ledgers.ts'

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const SHA256 = /^[0-9a-f]{64}$/
const OTHERS: ReadonlySet<string> = new Set([LOG_ID_STREAM, SERVERS_STREAM, CHECKPOINT_STREAM])

/** Whether a server makes a stream with this name. */
export function isOwnStream(stream: string): boolean {
  if (stream.startsWith(RUN_STREAM_PREFIX)) return UUID.test(runIdOf(stream))
  const artifact = artifactOfStream(stream)
  if (artifact !== null) return SHA256.test(artifact)
  return OTHERS.has(stream) || ledgerOf(stream) !== null
}
