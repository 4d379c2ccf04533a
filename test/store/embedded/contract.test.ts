import { describeEventStoreContract } from '../contract.ts'
import { openTemporaryStore } from './support.ts'

describeEventStoreContract('the embedded store', openTemporaryStore, { propertyRuns: 60 })
