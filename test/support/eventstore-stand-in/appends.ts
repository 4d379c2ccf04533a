import { setImmediate } from 'node:timers/promises'
import type { IStreamsServer } from '@eventstore/db-client/generated/streams_grpc_pb.js'
import generated, {
  type AppendReq,
  type AppendResp,
  type BatchAppendReq,
} from '@eventstore/db-client/generated/streams_pb.js'
import type { ServerReadableStream } from '@grpc/grpc-js'
import type { Context } from './calls.ts'
import { commit } from './commits.ts'
import type { AppendOutcome, Expected, ProposedEvent } from './log.ts'
import { empty, nameOf, refusal } from './messages.ts'
import { NOT_READY, notLeader } from './server-info.ts'

export const MAX_APPEND_BYTES = 1024 * 1024

type Proposed = AppendReq.ProposedMessage | BatchAppendReq.ProposedMessage
type ExpectedOptions = {
  hasNoStream(): boolean
  hasStreamExists(): boolean
  hasAny(): boolean
}

export function proposedEvent(message: Proposed): ProposedEvent {
  return {
    id: message.getId()?.getString() ?? '',
    type: message.getMetadataMap().get('type') ?? '',
    contentType: message.getMetadataMap().get('content-type') ?? '',
    data: message.getData_asU8(),
    metadata: message.getCustomMetadata_asU8(),
  }
}

export function expectedOf(options: ExpectedOptions, exact: () => string): Expected {
  if (options.hasNoStream()) return 'no_stream'
  if (options.hasStreamExists()) return 'stream_exists'
  return options.hasAny() ? 'any' : BigInt(exact())
}

/** The answer of a real server to the second of two equal appends. */
const DROPPED = { code: 10, details: 'Operation returned Aborted. Reason: Commit phase timeout' }

/** The Append call: options, then one message for each event, then one answer. */
export function appendHandler(context: Context): IStreamsServer['append'] {
  const { faults, calls } = context
  return async (call, answer) => {
    calls.appends += 1
    const sent = await received(call)
    if (sent === null) return
    const { options, events } = sent
    await faults.delay()
    const refused = notLeader(faults, call.metadata) ?? tooLarge(events)
    if (refused === 'not ready') return answer(NOT_READY)
    if (refused !== null) return answer(refused)
    const fault = faults.takeAppendFault()
    if (fault === 'swallow' || options === null) return
    if (fault === 'drop') return answer(DROPPED)
    const stream = nameOf(options.getStreamIdentifier())
    const expected = expectedOf(options, () => options.getRevision())
    const outcome = await commit(context, stream, expected, events)
    if (outcome.type === 'dropped') return answer(DROPPED)
    if (outcome.type === 'lost') return
    if (fault === 'lose_answer') faults.cutConnections()
    if (fault === 'drop_stored') return answer(DROPPED)
    if (fault !== undefined) return
    if (outcome.type === 'stream_deleted') {
      return answer(refusal('stream-deleted', { 'stream-name': stream }))
    }
    answer(null, response(outcome))
  }
}

/** Null if the client disconnects before it has sent everything. Then nothing is appended. */
async function received(call: ServerReadableStream<AppendReq, AppendResp>) {
  let options: AppendReq.Options | null = null
  const events: ProposedEvent[] = []
  try {
    for await (const request of call as AsyncIterable<AppendReq>) {
      options = request.getOptions() ?? options
      const message = request.getProposedMessage()
      if (message !== undefined) events.push(proposedEvent(message))
    }
  } catch {
    return null
  }
  // A cancellation looks like the end of the request at first, and like a cancellation a moment later.
  await setImmediate()
  return call.cancelled ? null : { options, events }
}

export const isTooLarge = (events: readonly ProposedEvent[]): boolean =>
  events.reduce((sum, { data, metadata }) => sum + data.length + metadata.length, 0) >
  MAX_APPEND_BYTES

function tooLarge(events: readonly ProposedEvent[]): ReturnType<typeof refusal> | null {
  if (!isTooLarge(events)) return null
  return refusal('maximum-append-size-exceeded', { 'maximum-append-size': `${MAX_APPEND_BYTES}` })
}

function response(outcome: Exclude<AppendOutcome, { type: 'stream_deleted' }>): AppendResp {
  const { AppendResp } = generated
  if (outcome.type === 'appended') {
    const position = outcome.position.toString()
    return new AppendResp().setSuccess(
      new AppendResp.Success()
        .setCurrentRevision(outcome.revision.toString())
        .setPosition(
          new AppendResp.Position().setCommitPosition(position).setPreparePosition(position),
        ),
    )
  }
  const wrong = new AppendResp.WrongExpectedVersion()
  if (outcome.current === null) wrong.setCurrentNoStream(empty())
  else wrong.setCurrentRevision(outcome.current.toString())
  return new AppendResp().setWrongExpectedVersion(wrong)
}
