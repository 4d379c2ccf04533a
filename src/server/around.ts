import type { Effects } from '../agent/run/effects.ts'
import type { Artifacts } from '../artifacts/artifacts.ts'
import type { Runner } from '../runner/runner.ts'
import type { EventStore } from '../store/event-store.ts'

/** What a test puts around parts of a server, for instance to kill it at a chosen moment. */
export type Around = {
  store(store: EventStore): EventStore
  artifacts(artifacts: Artifacts): Artifacts
  effects(effects: Effects, runner: Pick<Runner, 'crash'>): Effects
}

/** The name of the global that holds it. Only a module that Node loads before the program (`--import`) can set that in time. */
export const AROUND: unique symbol = Symbol.for('retrai.around')

/** Without a test, nothing. */
export const around: Around = Reflect.get(globalThis, AROUND) ?? {
  store: (store) => store,
  artifacts: (artifacts) => artifacts,
  effects: (effects) => effects,
}
