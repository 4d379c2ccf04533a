import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { type StandIn, startStandIn } from '../../support/eventstore-stand-in/index.ts'
import { describeEventStoreContract } from '../contract.ts'

const open = async (disturb: (server: StandIn) => () => void) => {
  const server = await startStandIn()
  const { connectionString } = server
  const store = (await openEventStoreDb({ connectionString }))._unsafeUnwrap()
  const calm = disturb(server)
  return {
    store,
    close: async () => {
      calm()
      await store.close()
      await server.stop()
    },
  }
}

describeEventStoreContract('EventStoreDB (protocol stand-in)', () => open(() => () => {}))

describeEventStoreContract('EventStoreDB (protocol stand-in that drops subscriptions)', () =>
  open(({ faults }) => {
    let strikes = 0
    const timer = setInterval(() => {
      strikes += 1
      if (strikes % 2 === 0) faults.failSubscriptions()
      else faults.endSubscriptions()
    }, 20)
    return () => clearInterval(timer)
  }),
)
