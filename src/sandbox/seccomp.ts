import { endianness } from 'node:os'

/**
 * The system calls that an isolated command may make, as a program for the kernel (classic BPF). It is written here, not
 * compiled, so that no tool is needed; a test compares what it decides with the lists below.
 */
type Numbers = readonly [x64: number, arm64: number | null]

/** Refused with EPERM: what changes namespaces, mounts, the kernel or the clock, or reaches keys and foreign memory. */
const REFUSED: Readonly<Record<string, Numbers>> = {
  unshare: [272, 97],
  setns: [308, 268],
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  syslog: [103, 116],
  acct: [163, 89],
  swapon: [167, 224],
  swapoff: [168, 225],
  reboot: [169, 142],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  quotactl: [179, 60],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  bpf: [321, 280],
  userfaultfd: [323, 282],
  perf_event_open: [298, 241],
  open_by_handle_at: [304, 265],
  move_pages: [279, 239],
  migrate_pages: [256, 238],
  mbind: [237, 235],
  set_mempolicy: [238, 237],
  adjtimex: [159, 171],
  clock_adjtime: [305, 266],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  iopl: [172, null],
  ioperm: [173, null],
  vhangup: [153, 58],
}

/** Refused with EPERM to a command that shares the machine's shared memory and queues (System V, POSIX): they know no folders. */
const SHARED: Readonly<Record<string, Numbers>> = {
  shmget: [29, 194],
  shmat: [30, 196],
  shmctl: [31, 195],
  semget: [64, 190],
  semop: [65, 193],
  semtimedop: [220, 192],
  semctl: [66, 191],
  msgget: [68, 186],
  msgsnd: [69, 189],
  msgrcv: [70, 188],
  msgctl: [71, 187],
  mq_open: [240, 180],
  mq_unlink: [241, 181],
}

/** Refused with ENOSYS, as by an older kernel, so that callers fall back to what can be filtered. */
const ABSENT: Readonly<Record<string, Numbers>> = {
  clone3: [435, 435],
  open_tree: [428, 428],
  open_tree_attr: [467, 467],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  quotactl_fd: [443, 443],
  openat2: [437, 437],
}

/** Judged by their arguments. */
const JUDGED = {
  clone: [56, 220],
  ioctl: [16, 29],
  socket: [41, 198],
  chmod: [90, null],
  fchmod: [91, 52],
  fchmodat: [268, 53],
  fchmodat2: [452, 452],
  open: [2, null],
  openat: [257, 56],
  creat: [85, null],
  mknod: [133, null],
  mknodat: [259, 33],
} as const satisfies Readonly<Record<string, Numbers>>

const ALLOW = 0x7fff_0000
const KILL = 0x8000_0000
const errno = (code: number): number => 0x0005_0000 | code
const EPERM = errno(1)
const ENOSYS = errno(38)
const EAFNOSUPPORT = errno(97)

const LOAD = 0x20
const JUMP_EQUAL = 0x15
const JUMP_AT_LEAST = 0x35
const JUMP_IF_SET = 0x45
const RETURN = 0x06

/** Where in `struct seccomp_data` a value is; of an argument, the lower half. */
const NUMBER_AT = 0
const ARCHITECTURE_AT = 4
const argumentAt = (index: number): number => 16 + 8 * index

const ARCHITECTURES = { x64: 0xc000_003e, arm64: 0xc000_00b7 } as const
/** Set in the numbers of the x32 ABI. */
const X32 = 0x4000_0000

const NEW_NAMESPACES = 0x7e02_0000
const TERMINAL_INPUT = [0x5412, 0x541c]
const SET_ID_BITS = 0o6000
const CREATES = 0x40_0040
const FAMILIES = { unix: 1, inet: 2, inet6: 10, netlink: 16 } as const

type Instruction = readonly [code: number, k: number, ifTrue?: number, ifFalse?: number]

/** Ends with `otherwise`, unless the value at `at` makes one of the tests true: each names what it then returns. */
const unless = (
  at: number,
  tests: readonly (readonly [code: number, k: number, result: number])[],
  otherwise = ALLOW,
): Instruction[] => [
  [LOAD, at],
  ...tests.flatMap(([code, k, result]): Instruction[] => [
    [code, k, 0, 1],
    [RETURN, result],
  ]),
  [RETURN, otherwise],
]

const noSetId = (mode: number): Instruction[] =>
  unless(argumentAt(mode), [[JUMP_IF_SET, SET_ID_BITS, EPERM]])

/** The mode counts only if a file is created. */
const noSetIdIfCreated = (flags: number, mode: number): Instruction[] => [
  [LOAD, argumentAt(flags)],
  [JUMP_IF_SET, CREATES, 1, 0],
  [RETURN, ALLOW],
  ...noSetId(mode),
]

function sockets(network: boolean): Instruction[] {
  const families = network ? [FAMILIES.unix, FAMILIES.inet, FAMILIES.inet6] : []
  return [
    [LOAD, argumentAt(0)],
    ...families.flatMap((family): Instruction[] => [
      [JUMP_EQUAL, family, 0, 1],
      [RETURN, ALLOW],
    ]),
    [JUMP_EQUAL, FAMILIES.netlink, 1, 0],
    [RETURN, EAFNOSUPPORT],
    // For netlink, only the protocol that lists addresses and routes.
    ...unless(argumentAt(2), [[JUMP_EQUAL, 0, ALLOW]], EPERM),
  ]
}

/** What decides about each call of `JUDGED`: instructions that end with a return. */
const judges = (network: boolean): Record<keyof typeof JUDGED, Instruction[]> => ({
  clone: unless(argumentAt(0), [[JUMP_IF_SET, NEW_NAMESPACES, EPERM]]),
  ioctl: unless(
    argumentAt(1),
    TERMINAL_INPUT.map((request) => [JUMP_EQUAL, request, EPERM] as const),
  ),
  socket: sockets(network),
  chmod: noSetId(1),
  fchmod: noSetId(1),
  fchmodat: noSetId(2),
  fchmodat2: noSetId(2),
  open: noSetIdIfCreated(1, 2),
  openat: noSetIdIfCreated(2, 3),
  creat: noSetId(1),
  mknod: noSetId(1),
  mknodat: noSetId(2),
})

/**
 * The program, as `struct sock_filter[]`; null on a processor that it is not known for.
 * @param network whether sockets, shared memory and queues may be made: those of a command with namespaces are its own
 */
export function seccompProgram(
  { network }: { readonly network: boolean },
  arch: string = process.arch,
): Buffer | null {
  if ((arch !== 'x64' && arch !== 'arm64') || endianness() !== 'LE') return null
  const numberOf = ([x64, arm64]: Numbers): number | null => (arch === 'x64' ? x64 : arm64)
  const only = (name: string, numbers: Numbers, body: readonly Instruction[]): Instruction[] => {
    const number = numberOf(numbers)
    if (body.length > 255) throw new Error(`what decides about ${name} is too long for a jump`)
    return number === null ? [] : [[JUMP_EQUAL, number, 0, body.length], ...body]
  }
  const judged = judges(network)
  const instructions: Instruction[] = [
    [LOAD, ARCHITECTURE_AT],
    [JUMP_EQUAL, ARCHITECTURES[arch], 1, 0],
    [RETURN, KILL],
    [LOAD, NUMBER_AT],
    ...(arch === 'x64'
      ? ([
          [JUMP_AT_LEAST, X32, 0, 1],
          [RETURN, ENOSYS],
        ] as const)
      : []),
    ...Object.entries(network ? REFUSED : { ...REFUSED, ...SHARED }).flatMap(([name, n]) =>
      only(name, n, [[RETURN, EPERM]]),
    ),
    ...Object.entries(ABSENT).flatMap(([name, n]) => only(name, n, [[RETURN, ENOSYS]])),
    ...Object.entries(JUDGED).flatMap(([name, n]) =>
      only(name, n, judged[name as keyof typeof JUDGED]),
    ),
    [RETURN, ALLOW],
  ]
  const program = Buffer.alloc(8 * instructions.length)
  instructions.forEach(([code, k, ifTrue = 0, ifFalse = 0], index) => {
    program.writeUInt16LE(code, 8 * index)
    program.writeUInt8(ifTrue, 8 * index + 2)
    program.writeUInt8(ifFalse, 8 * index + 3)
    program.writeUInt32LE(k, 8 * index + 4)
  })
  return program
}
