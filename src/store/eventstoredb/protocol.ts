import { setImmediate as nextTurn } from 'node:timers/promises'
import { EventStoreDBClient } from '@eventstore/db-client'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import services, { type StreamsClient } from '@eventstore/db-client/generated/streams_grpc_pb.js'
import type { ReadReq } from '@eventstore/db-client/generated/streams_pb.js'
import generated from '@eventstore/db-client/generated/streams_pb.js'
import type { CallOptions, ClientReadableStream, Metadata } from '@grpc/grpc-js'
import { err, ok, type Result } from 'neverthrow'
import { BrokenInvariant } from '../../domain/errors.ts'
import { wordSet } from '../../lib/text.ts'
import type { StoreFailure } from '../event-store.ts'
import { clientMessageOf, inTime, refused } from './calls.ts'
import { type Address, unusable } from './connection-string.ts'
import { type LogPosition, type Message, readMessage, type StoredEvent } from './event-format.ts'

const { Empty, StreamIdentifier } = shared

/**
 * What the client itself makes its calls with. We make those of streams ourselves: the client parses and copies what we
 * only pass on, and its batch append ends the process in two ways (see batch-appends.ts). Finding, losing and replacing
 * connections stays with the client.
 */
export type Protocol = {
  getGRPCClient(service: typeof StreamsClient, name: string): Promise<StreamsClient>
  callArguments(
    base: { readonly requiresLeader: boolean },
    options: { readonly deadline: number },
  ): [Metadata, CallOptions]
  handleError(client: StreamsClient, cause: unknown): Promise<void>
}

/** These parts are protected in the types of the client. `connect` checks that they are there. */
export const protocolOf = (client: EventStoreDBClient): Protocol => client as unknown as Protocol

/**
 * Makes a client. It connects when it is first used.
 * @returns `store_failed` for an address that cannot be used
 */
export function connect(
  address: Address,
  log: (message: string) => void,
): Result<EventStoreDBClient, StoreFailure> {
  try {
    const client = EventStoreDBClient.connectionString(effective(address, log))
    replaceMethods(client, log)
    return ok(client)
  } catch (cause) {
    return err(unusable(clientMessageOf(cause)))
  }
}

/**
 * Replaces two methods of the client (6.2.1) that would end the whole process:
 *
 * - Batch appends share one table of unanswered appends between all connections. A lost connection rejects the appends
 *   of a healthy one, whose answers then throw where nothing can catch the error. `supports` returns false, so the
 *   client makes none. Ours are in batch-appends.ts.
 * - `handleError`, which replaces a failed connection, is never awaited: if it fails, the rejection is unhandled. And it
 *   closes the channel of an append that is just starting, with the same effect. So it waits until no append is
 *   starting.
 */
function replaceMethods(client: EventStoreDBClient, log: (message: string) => void): void {
  const handleError: unknown = Reflect.get(client, 'handleError')
  const isKnown = METHODS.every((name) => typeof Reflect.get(client, name) === 'function')
  if (typeof handleError !== 'function' || !isKnown) {
    throw new BrokenInvariant('this version of @eventstore/db-client is not the one we know')
  }
  Object.assign(client, {
    supports: async () => false,
    handleError: async (...args: unknown[]) => {
      try {
        await nextTurn()
        await Reflect.apply(handleError, client, args)
      } catch (cause) {
        log(`EventStoreDB: the connection could not be replaced: ${clientMessageOf(cause)}`)
      }
    },
  })
}

/** The protected methods of the client that are used or replaced. */
const METHODS = ['callArguments', 'getGRPCClient', 'handleError', 'supports']

/** The options that have an effect in the client, and are passed to it. */
const KNOWN = wordSet(`
  connectionname defaultdeadline discoveryinterval gossiptimeout keepaliveinterval
  keepalivetimeout maxdiscoverattempts nodepreference tls tlscafile usercertfile userkeyfile
`)

/**
 * The connection string without the options that have no effect here. Each of them is logged. The client would print
 * the whole string, with the password, on the console.
 */
function effective({ base, options }: Address, log: (message: string) => void): string {
  const kept = options.flatMap(({ key, name, value }) => {
    if (value === null) return [name]
    if (KNOWN.has(key)) return [`${name}=${value}`]
    log(`EventStoreDB: the option ${name} is ignored: it has no effect here`)
    return []
  })
  return kept.length === 0 ? base : `${base}?${kept.join('&')}`
}

export const streamsClient = (protocol: Protocol): Promise<StreamsClient> =>
  protocol.getGRPCClient(services.StreamsClient, 'streams')

/** Arguments of a call to the leader that has no time limit of its own. */
export const leaderCall = (protocol: Protocol): [Metadata, CallOptions] =>
  protocol.callArguments({ requiresLeader: true }, { deadline: Number.POSITIVE_INFINITY })

export type ReadCall = ClientReadableStream<Message>

const { path, requestSerialize } = services.StreamsService.read

/** Begins a read or a subscription. A connection that breaks is replaced for later calls. */
export async function openRead(protocol: Protocol, request: ReadReq): Promise<ReadCall> {
  const client = await streamsClient(protocol)
  const call = client.makeServerStreamRequest(
    path,
    requestSerialize,
    readMessage,
    request,
    ...leaderCall(protocol),
  )
  call.on('error', (cause) => void protocol.handleError(client, cause))
  return call
}

/** Ends a call. If gRPC is just delivering to it, it must not be cancelled at once. */
export function cancel(call: ReadCall): void {
  setImmediate(() => call.cancel())
}

export const streamIdentifier = (stream: string) =>
  new StreamIdentifier().setStreamName(Buffer.from(stream))

type Options = InstanceType<typeof generated.ReadReq.Options>

/** Where to read: a revision or a position, or one end. */
export type Place<P> = P | 'start' | 'end'

const { StreamOptions, AllOptions, UUIDOption, FilterOptions, Position, SubscriptionOptions } =
  generated.ReadReq.Options

export function ofStream(stream: string, from: Place<bigint>): Options {
  const place = new StreamOptions().setStreamIdentifier(streamIdentifier(stream))
  if (from === 'start') place.setStart(new Empty())
  else if (from === 'end') place.setEnd(new Empty())
  else place.setRevision(from.toString())
  return common().setStream(place)
}

export function ofAll(from: Place<LogPosition>): Options {
  const place = new AllOptions()
  if (from === 'start') place.setStart(new Empty())
  else if (from === 'end') place.setEnd(new Empty())
  else {
    const { commit, prepare } = from
    place.setPosition(
      new Position().setCommitPosition(commit.toString()).setPreparePosition(prepare.toString()),
    )
  }
  return common().setAll(place)
}

const common = (): Options =>
  new generated.ReadReq.Options()
    .setResolveLinks(false)
    .setUuidOption(new UUIDOption().setString(new Empty()))
    .setNoFilter(new Empty())

/** A page of at most `limit` events. */
export function page(options: Options, direction: 'forward' | 'backward', limit: number): ReadReq {
  const { FORWARDS, BACKWARDS } = generated.ReadReq.Options.ReadDirection
  options.setReadDirection(direction === 'forward' ? FORWARDS : BACKWARDS).setCount(String(limit))
  return new generated.ReadReq().setOptions(options)
}

/** A subscription without an end. */
export function subscription(options: Options): ReadReq {
  return new generated.ReadReq().setOptions(options.setSubscription(new SubscriptionOptions()))
}

/**
 * Lets only events of some streams pass.
 * @param window after this many events that are dropped, the server reports where it is
 */
export function filtered(
  options: Options,
  names: { readonly prefix: string } | { readonly regex: string },
  window: number,
): Options {
  const expression = new FilterOptions.Expression()
  if ('prefix' in names) expression.setPrefixList([names.prefix])
  else expression.setRegex(names.regex)
  const filter = new FilterOptions()
    .setStreamIdentifier(expression)
    .setMax(window)
    .setCheckpointintervalmultiplier(1)
  options.clearNoFilter()
  return options.setFilter(filter)
}

const ignore = (): void => {}

/**
 * Reads to the end. Leaves no call open on the server, whatever happens.
 * @throws NotAnswered after `ms`, a refusal with `stream-not-found`, or an error of gRPC
 */
export async function readPage(
  protocol: Protocol,
  request: ReadReq,
  ms: number,
): Promise<StoredEvent[]> {
  const opened = openRead(protocol, request)
  try {
    return await inTime(ms, opened.then(collect))
  } catch (cause) {
    opened.then(cancel, ignore)
    throw cause
  }
}

function collect(call: ReadCall): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  return new Promise((resolve, reject) => {
    call
      .on('error', reject)
      .on('end', () => resolve(events))
      .on('data', (message: Message) => {
        if (message.type === 'event') events.push(message.event)
        if (message.type === 'stream_not_found') reject(NOT_FOUND)
      })
  })
}

const NOT_FOUND = refused({ type: 'stream-not-found', message: 'the stream does not exist' })
