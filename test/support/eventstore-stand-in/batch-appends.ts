import generatedShared from '@eventstore/db-client/generated/shared_pb.js'
import generatedStatus from '@eventstore/db-client/generated/status_pb.js'
import type { IStreamsServer } from '@eventstore/db-client/generated/streams_grpc_pb.js'
import generated, {
  type BatchAppendReq,
  type BatchAppendResp,
} from '@eventstore/db-client/generated/streams_pb.js'
import { expectedOf, isTooLarge, MAX_APPEND_BYTES, proposedEvent } from './appends.ts'
import type { Context } from './calls.ts'
import { commit } from './commits.ts'
import type { AppendOutcome, ProposedEvent } from './log.ts'
import { empty, nameOf } from './messages.ts'
import { notLeader } from './server-info.ts'

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
      const outcome = await append(context, batch)
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

function append(context: Context, { options, events }: Batch) {
  const expected = expectedOf(options, () => options.getStreamPosition())
  return commit(context, nameOf(options.getStreamIdentifier()), expected, events)
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
