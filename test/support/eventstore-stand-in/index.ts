import gossipService from '@eventstore/db-client/generated/gossip_grpc_pb.js'
import featuresService from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js'
import streamsService, {
  type IStreamsServer,
} from '@eventstore/db-client/generated/streams_grpc_pb.js'
import generated from '@eventstore/db-client/generated/streams_pb.js'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { appendHandler, batchAppendHandler } from './appends.ts'
import type { Calls } from './calls.ts'
import { Faults } from './faults.ts'
import { Log } from './log.ts'
import { nameOf, tombstoned, wrongVersion } from './messages.ts'
import { readHandler } from './reads.ts'
import { gossip, serverFeatures } from './server-info.ts'
import { Wire } from './wire.ts'

export type StandIn = {
  /** `esdb://127.0.0.1:<port>?tls=false` */
  readonly connectionString: string
  readonly port: number
  readonly faults: Faults
  /** What is stored, without any faults. */
  readonly log: Log
  readonly calls: Readonly<Calls>
  stop(): Promise<void>
}

/**
 * Starts a stand-in for an EventStoreDB. It is NOT an EventStoreDB: it speaks the gRPC calls of its
 * streams (with the stubs that were generated for the client), keeps everything in memory, and knows only the rules that
 * the tests of the adapter need. It can fail in ways in which a real server cannot be made to fail. What it proves must
 * also be tested with a real server: see test/store/eventstoredb/real.test.ts.
 */
export async function startStandIn(options: { readonly port?: number } = {}): Promise<StandIn> {
  const log = new Log()
  const server = new Server({ 'grpc.max_receive_message_length': 32 * 1024 * 1024 })
  const target = await listen(server)
  const wire = new Wire(options.port ?? 0, target)
  const faults = new Faults(wire)
  const calls: Calls = { batchAppends: 0, openReads: 0, eventsSent: 0 }
  const context = { log, faults, calls }
  const streams: IStreamsServer = {
    read: readHandler(context),
    append: appendHandler(context),
    batchAppend: batchAppendHandler(context),
    delete: (call, answer) => {
      log.delete(nameOf(call.request.getOptions()?.getStreamIdentifier()))
      answer(null, new generated.DeleteResp())
    },
    tombstone: (call, answer) => {
      const options = call.request.getOptions()
      const name = nameOf(options?.getStreamIdentifier())
      const expected = options?.hasRevision() ? BigInt(options.getRevision()) : 'any'
      const refused = log.tombstone(name, expected)
      if (refused === null) answer(null, new generated.TombstoneResp())
      else if (refused.type === 'stream_deleted') answer(tombstoned(name))
      else answer(wrongVersion(name, String(expected), refused.current))
    },
  }
  server.addService(streamsService.StreamsService, streams)
  server.addService(featuresService.ServerFeaturesService, serverFeatures)
  server.addService(
    gossipService.GossipService,
    gossip(() => wire.port, faults),
  )
  await wire.open()
  return {
    connectionString: `esdb://127.0.0.1:${wire.port}?tls=false`,
    port: wire.port,
    faults,
    log,
    calls,
    stop: async () => {
      await wire.close()
      server.forceShutdown()
    },
  }
}

function listen(server: Server): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
    if (error === null) resolve(port)
    else reject(error)
  })
  return promise
}
