import type { IGossipServer } from '@eventstore/db-client/generated/gossip_grpc_pb.js'
import generatedGossip from '@eventstore/db-client/generated/gossip_pb.js'
import type { IServerFeaturesServer } from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js'
import generatedFeatures from '@eventstore/db-client/generated/serverfeatures_pb.js'
import generatedStreamsService from '@eventstore/db-client/generated/streams_grpc_pb.js'
import { type Metadata, status } from '@grpc/grpc-js'
import type { Faults } from './faults.ts'
import { refusal } from './messages.ts'

/** States of a node, as in gossip. */
const UNKNOWN = 1
const LEADER = 8

/** Lists the calls that the server knows, so that the client makes batch appends. */
export const serverFeatures: IServerFeaturesServer = {
  getSupportedMethods: (_call, answer) => {
    const methods = new generatedFeatures.SupportedMethods()
    methods.setEventStoreServerVersion('0.0.0-stand-in')
    for (const { path } of Object.values(generatedStreamsService.StreamsService)) {
      const [, service = '', method = ''] = path.split('/')
      methods.addMethods(
        new generatedFeatures.SupportedMethod()
          .setServiceName(service)
          .setMethodName(method.toLowerCase()),
      )
    }
    answer(null, methods)
  },
}

/** A cluster of one, which is its own leader once it has elected itself. */
export const gossip = (port: () => number, faults: Faults): IGossipServer => ({
  read: (_call, answer) => {
    if (faults.noGossip) return answer({ code: status.UNAVAILABLE, details: 'no gossip' })
    const node = new generatedGossip.MemberInfo()
      .setState(faults.leaderless ? UNKNOWN : LEADER)
      .setIsAlive(true)
      .setHttpEndPoint(new generatedGossip.EndPoint().setAddress('127.0.0.1').setPort(port()))
    answer(null, new generatedGossip.ClusterInfo().setMembersList([node]))
  },
})

/** The answer of a node that lives and knows no leader yet. */
export const NOT_READY = { code: status.UNAVAILABLE, details: 'Server Is Not Ready' }

/** The refusal of a call that needs the leader, if there is none, or if another node is the leader. */
export function notLeader(
  faults: Faults,
  metadata: Metadata,
): ReturnType<typeof refusal> | 'not ready' | null {
  if (metadata.get('requires-leader')[0] !== 'true') return null
  if (faults.leaderless) return 'not ready'
  if (faults.leader === null) return null
  const { host, port } = faults.leader
  return refusal('not-leader', {
    'leader-endpoint-host': host,
    'leader-endpoint-port': String(port),
  })
}
