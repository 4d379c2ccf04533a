import { AROUND, type Around } from '../../src/server/around.ts'
import {
  Fuse,
  withCrashingAppends,
  withCrashingEffects,
  withCrashingRemovals,
} from './crash-points.ts'

/** A server that loads this with `--import` dies at the crash points of RETRAI_CRASH_AT. */
const fuse = new Fuse(process.env.RETRAI_CRASH_AT ?? '')
const around: Around = {
  store: (store) => withCrashingAppends(store, fuse),
  artifacts: (artifacts) => withCrashingRemovals(artifacts, fuse),
  effects: (effects, runner) => withCrashingEffects(effects, fuse, runner),
}
Object.assign(globalThis, { [AROUND]: around })
