/** The stand-in for an EventStoreDB in a process of its own. */
import { startStandIn } from '../../test/support/eventstore-stand-in/index.ts'
import { answerCalls } from '../support/calls.ts'

const standIn = await startStandIn()
const operations = { connectionString: () => standIn.connectionString }
export type StoreOperations = typeof operations

answerCalls(operations, () => standIn.stop())
