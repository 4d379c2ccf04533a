import { setTimeout } from 'node:timers/promises'
import generatedShared from '@eventstore/db-client/generated/shared_pb.js'
import generatedStatus from '@eventstore/db-client/generated/status_pb.js'
import type { IStreamsServer } from '@eventstore/db-client/generated/streams_grpc_pb.js'
import generated, {
  type AppendReq,
  type BatchAppendReq,
  type BatchAppendResp,
} from '@eventstore/db-client/generated/streams_pb.js'
import type { Context } from './calls.ts'
import type { AppendOutcome, Expected, ProposedEvent } from './log.ts'
import { empty, nameOf, tombstoned } from './messages.ts'
import { notLeader, NOT_READY as UNAVAILABLE } from './server-info.ts'

const MAX_APPEND_BYTES = 1024 * 1024

type Batch = { readonly options: BatchAppendReq.Options; readonly events: ProposedEvent[] }

/** The BatchAppend call: many appends over one stream, each with a correlation id. */
export function batchAppendHandler(context: Context): IStreamsServer['batchAppend'] {
  const { faults, calls } = context
  return (call) => {
    const open = new Map<string, Batch>()
    call.on('data', async (request: BatchAppendReq) => {
      const id = request.getCorrelationId()?.getString() ?? ''
      const options = request.getOptions()
      const batch = open.get(id) ?? (options === undefined ? undefined : { options, events: [] })
      if (batch === undefined) return
      open.set(id, batch)
      batch.events.push(...request.getProposedMessagesList().map(proposedEvent))
      if (!request.getIsFinal()) return
      open.delete(id)
      calls.batchAppends += 1
      const answer = (error: Status | null, outcome?: AppendOutcome): void => {
        if (!call.cancelled) call.write(response(request, batch, outcome, error))
      }
      await faults.delay()
      const refused = notLeader(faults, call.metadata)
      if (refused === 'not ready') return answer(NOT_READY)
      // A real server ends the whole call, and the other appends on it get no answer.
      if (refused !== null) return void call.emit('error', refused)
      if (isRefused(context, batch)) return answer(errorStatus('AccessDenied', new Uint8Array()))
      if (isTooLarge(batch.events)) return answer(TOO_LARGE)
      const fault = faults.takeAppendFault()
      if (fault === 'swallow') return
      if (fault === 'drop') return answer(DROPPED)
      if (call.cancelled) return
      const outcome = await commit(context, batch)
      if (outcome.type === 'dropped') return answer(DROPPED)
      if (outcome.type === 'lost') return
      if (fault === 'lose_answer') faults.cutConnections()
      if (fault === 'drop_stored') return answer(DROPPED)
      if (fault === undefined) answer(null, outcome)
    })
    call.on('end', () => call.end())
    call.on('error', () => {})
  }
}

/** The Append call, with which the client writes the metadata of a stream. It knows no faults but that of the leader. */
export function appendHandler({ log, faults }: Context): IStreamsServer['append'] {
  return async (call, answer) => {
    let stream = ''
    const events: ProposedEvent[] = []
    for await (const request of call as AsyncIterable<AppendReq>) {
      stream = nameOf(request.getOptions()?.getStreamIdentifier()) || stream
      const message = request.getProposedMessage()
      if (message !== undefined) events.push(proposedEvent(message))
    }
    const refused = notLeader(faults, call.metadata)
    if (refused !== null) return answer(refused === 'not ready' ? UNAVAILABLE : refused)
    const outcome = log.append(stream, 'any', events)
    if (outcome.type !== 'appended') return answer(tombstoned(stream))
    const success = new generated.AppendResp.Success()
    answer(
      null,
      new generated.AppendResp().setSuccess(
        success.setCurrentRevision(outcome.revision.toString()).setNoPosition(empty()),
      ),
    )
  }
}

type Proposed = AppendReq.ProposedMessage | BatchAppendReq.ProposedMessage

function proposedEvent(message: Proposed): ProposedEvent {
  return {
    id: message.getId()?.getString() ?? '',
    type: message.getMetadataMap().get('type') ?? '',
    contentType: message.getMetadataMap().get('content-type') ?? '',
    data: message.getData_asU8(),
    metadata: message.getCustomMetadata_asU8(),
  }
}

function expectedBy(options: BatchAppendReq.Options): Expected {
  if (options.hasNoStream()) return 'no_stream'
  return options.hasAny() ? 'any' : BigInt(options.getStreamPosition())
}

const isTooLarge = (events: readonly ProposedEvent[]): boolean =>
  events.reduce((sum, { data, metadata }) => sum + data.length + metadata.length, 0) >
  MAX_APPEND_BYTES

/** What becomes of an append. One that is `dropped` or `lost` stores nothing. */
type Committed = AppendOutcome | { readonly type: 'dropped' } | { readonly type: 'lost' }

/** The appends that are written and wait for the other nodes. */
const underWay = new WeakMap<Context['log'], Set<string>>()

/**
 * Stores an append once the other nodes have it. If the same append comes while the first one is under way, it waits in
 * vain: a real server drops it when its commit time-out is over. If another node has become the leader meanwhile, the append
 * is cut off the log of this one.
 */
async function commit({ log, faults }: Context, { options, events }: Batch): Promise<Committed> {
  const stream = nameOf(options.getStreamIdentifier())
  const expected = expectedBy(options)
  if (faults.commitMs === 0) return log.append(stream, expected, events)
  const same = JSON.stringify([stream, String(expected), events.map(({ id }) => id)])
  const others = underWay.get(log) ?? new Set()
  underWay.set(log, others)
  if (others.has(same)) {
    await setTimeout(faults.commitTimeoutMs)
    return { type: 'dropped' }
  }
  others.add(same)
  const { term } = faults
  await setTimeout(faults.commitMs)
  others.delete(same)
  return faults.term === term ? log.append(stream, expected, events) : { type: 'lost' }
}

function response(
  request: BatchAppendReq,
  batch: Batch,
  outcome: AppendOutcome | undefined,
  error: Status | null,
): BatchAppendResp {
  const { BatchAppendResp } = generated
  const answer = new BatchAppendResp()
    .setCorrelationId(request.getCorrelationId())
    .setStreamIdentifier(batch.options.getStreamIdentifier())
  if (outcome === undefined || error !== null) return answer.setError(error ?? undefined)
  if (outcome.type === 'appended') {
    return answer.setSuccess(
      new BatchAppendResp.Success().setCurrentRevision(outcome.revision.toString()),
    )
  }
  if (outcome.type === 'stream_deleted') {
    const deleted = new generatedShared.StreamDeleted()
    return answer.setError(errorStatus('StreamDeleted', deleted.serializeBinary()))
  }
  const wrong = new generatedShared.WrongExpectedVersion()
  if (outcome.current === null) wrong.setCurrentNoStream(empty())
  else wrong.setCurrentStreamRevision(outcome.current.toString())
  return answer.setError(errorStatus('WrongExpectedVersion', wrong.serializeBinary()))
}

type Status = InstanceType<typeof generatedStatus.Status>

function isRefused({ faults: { readOnly } }: Context, { options }: Batch): boolean {
  return readOnly !== null && nameOf(options.getStreamIdentifier()).startsWith(readOnly)
}

/** A google.rpc.Status whose details are an Any, written as bytes, because the client has no generated Any. */
function errorStatus(name: string, value: Uint8Array): Status {
  const url = Buffer.from(`type.googleapis.com/event_store.client.${name}`)
  const any = Buffer.concat([field(1, url), field(2, value)])
  return generatedStatus.Status.deserializeBinary(field(3, any))
}

/** A length-delimited field of a protobuf message, shorter than 16 KiB. */
function field(number: number, value: Uint8Array): Buffer {
  const length =
    value.length < 128 ? [value.length] : [(value.length & 0x7f) | 0x80, value.length >> 7]
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), value])
}

/** The answer of a real server to the second of two equal appends. */
const DROPPED = errorStatus('Timeout', new generatedShared.Timeout().serializeBinary())
/** It has no details of its own type, and no code. */
const NOT_READY = generatedStatus.Status.deserializeBinary(
  Buffer.concat([
    field(2, Buffer.from('Server Is Not Ready')),
    field(3, field(1, Buffer.from('type.googleapis.com/google.protobuf.Empty'))),
  ]),
)
const TOO_LARGE = errorStatus(
  'MaximumAppendSizeExceeded',
  new generatedShared.MaximumAppendSizeExceeded()
    .setMaxappendsize(MAX_APPEND_BYTES)
    .serializeBinary(),
)
