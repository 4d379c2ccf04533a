import generatedShared from '@eventstore/db-client/generated/shared_pb.js'
import generatedStatus from '@eventstore/db-client/generated/status_pb.js'
import type { IStreamsServer } from '@eventstore/db-client/generated/streams_grpc_pb.js'
import generated, {
  type BatchAppendReq,
  type BatchAppendResp,
} from '@eventstore/db-client/generated/streams_pb.js'
import { expectedOf, proposedEvent } from './appends.ts'
import type { Context } from './calls.ts'
import type { AppendOutcome, Log, ProposedEvent } from './log.ts'
import { empty, nameOf } from './messages.ts'

type Batch = { readonly options: BatchAppendReq.Options; readonly events: ProposedEvent[] }

/**
 * The BatchAppend call: many appends over one stream, each with a correlation id. Our adapter does not make it, but the
 * client's own setStreamMetadata does.
 */
export function batchAppendHandler(context: Context): IStreamsServer['batchAppend'] {
  const { log, faults, calls } = context
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
      await faults.delay()
      const fault = faults.takeAppendFault()
      if (fault === 'swallow') return
      const outcome = append(log, batch)
      if (fault === 'lose_answer') faults.cutConnections()
      if (fault === undefined && !call.cancelled) call.write(response(request, batch, outcome))
    })
    call.on('end', () => call.end())
    call.on('error', () => {})
  }
}

function append(log: Log, { options, events }: Batch): AppendOutcome {
  const expected = expectedOf(options, () => options.getStreamPosition())
  return log.append(nameOf(options.getStreamIdentifier()), expected, events)
}

function response(request: BatchAppendReq, batch: Batch, outcome: AppendOutcome): BatchAppendResp {
  const { BatchAppendResp } = generated
  const answer = new BatchAppendResp()
    .setCorrelationId(request.getCorrelationId())
    .setStreamIdentifier(batch.options.getStreamIdentifier())
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

/** A google.rpc.Status whose details are an Any, written as bytes, because the client has no generated Any. */
function errorStatus(name: string, value: Uint8Array): InstanceType<typeof generatedStatus.Status> {
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
