import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { err, ok, type Result } from 'neverthrow'
import * as z from 'zod'
import { OwnLog } from '../checkpoints/witness/own-log.ts'
import { type StampAuthority, TimeStamps } from '../checkpoints/witness/time-stamps.ts'
import { Witnesses } from '../checkpoints/witness/witnesses.ts'
import { messageOf } from '../lib/message-of.ts'
import { readSettingFile } from '../lib/setting-file.ts'
import { readNoteKey } from '../lib/signed-note.ts'
import { fetchUpTo } from '../models/patient-fetch.ts'
import type { Identity } from './data-folder.ts'
import type { Parts } from './open-history.ts'
import type { Settings } from './settings.ts'

const WitnessKey = z.string().transform((line, context) => {
  const key = readNoteKey(line, 'cosignature')
  if (key.isOk()) return key.value
  context.addIssue(`is not the key of a witness: ${key.error}`)
  return z.NEVER
})
const Address = z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// address' })

/** Who sees the checkpoints of a server, and how many of them must. */
const WitnessFile = z
  .strictObject({
    quorum: z.int('must be a whole number').min(1, 'must be at least 1'),
    witnesses: z.array(
      z.strictObject({ key: WitnessKey, url: Address.transform((url) => url.replace(/\/+$/, '')) }),
    ),
  })
  .superRefine(({ quorum, witnesses }, { addIssue }) => {
    const count = new Set(witnesses.map(({ key }) => key.line)).size
    if (count < witnesses.length) addIssue('names a witness twice')
    if (quorum > count) addIssue(`asks for a quorum of ${quorum}, and names ${count} witnesses`)
  })
type WitnessFile = z.infer<typeof WitnessFile>

/** Reads the file of RETRAI_WITNESSES; null without one. The error is a text for people. */
export const readWitnessFile = async (
  path: string | undefined,
): Promise<Result<WitnessFile | null, string>> =>
  path === undefined ? ok(null) : readSettingFile('RETRAI_WITNESSES', path, WitnessFile)

/** Reads RETRAI_TSA and the file of RETRAI_TSA_CA; null without them. The error is a text for people. */
export async function readStampAuthority({
  RETRAI_TSA: url,
  RETRAI_TSA_CA: file,
}: Pick<Settings, 'RETRAI_TSA' | 'RETRAI_TSA_CA'>): Promise<Result<StampAuthority | null, string>> {
  if (url === undefined && file === undefined) return ok(null)
  if (url === undefined || file === undefined)
    return err('Set both RETRAI_TSA and RETRAI_TSA_CA, the certificates of its authority, or none.')
  try {
    const certificates = await readFile(file, 'utf8')
    new X509Certificate(certificates)
    return ok({ url, certificates })
  } catch (cause) {
    const why = messageOf(cause)
    return err(`RETRAI_TSA_CA: the file ${file} does not hold certificates in PEM: ${why}`)
  }
}

/** An answer of a witness or an authority is shorter. */
const MAX_ANSWER_BYTES = 64 * 1024

/** Who is configured to see the checkpoints of a server; null if nobody is. */
export type Watchers = {
  readonly witnesses: WitnessFile | null
  readonly authority: StampAuthority | null
}

/** The log of checkpoints of a server, and those who see it from now on; null if there are none. */
type Witnessing = {
  readonly ownLog: OwnLog
  readonly witnesses: Witnesses | null
  readonly timeStamps: TimeStamps | null
}

/** Shows the log of checkpoints to the witnesses, and has its time stamped, from now on. */
export async function startWitnesses(
  { store, log }: Pick<Parts, 'store' | 'log'>,
  { keyring, serverId, renewServerId }: Identity,
  { witnesses: file, authority }: Watchers,
): Promise<Witnessing> {
  const ownLog = new OwnLog({ store, keyring, serverId, needed: file?.quorum ?? 1 })
  const set = await keyring.setWitnessed(file !== null)
  const forgotten = file === null ? await keyring.forgetRetired() : ok()
  const done = set.andThen(() => forgotten)
  if (done.isErr())
    log.warn({ error: done.error }, 'the private parts of retired keys are as they were')
  const fetch = fetchUpTo(MAX_ANSWER_BYTES)
  const timeStamps = authority && new TimeStamps({ ownLog, store, authority, fetch, log })
  if (file === null) return { ownLog, witnesses: null, timeStamps }
  const { quorum, witnesses } = file
  const deps = { ownLog, store, keyring, quorum, witnesses, renewServerId, log }
  return { ownLog, witnesses: new Witnesses({ ...deps, fetch }), timeStamps }
}
