import { AROUND, type Around } from '../../src/server/around.ts'
import {
  crashAt,
  withCrashingAppends,
  withCrashingEffects,
  withCrashingRemovals,
} from './crash-points.ts'

/** A server that loads this with `--import` dies at the crash point of RETRAI_CRASH_AT. */
const at = crashAt(process.env.RETRAI_CRASH_AT ?? '')
const around: Around = {
  store: (store) => withCrashingAppends(store, at),
  artifacts: (artifacts) => withCrashingRemovals(artifacts, at),
  effects: (effects, runner) => withCrashingEffects(effects, at, runner),
}
Object.assign(globalThis, { [AROUND]: around })
