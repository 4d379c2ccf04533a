import classes from './logo.module.css'

/** A trace that is being recorded, and the head that records it. */
export function Logo() {
  return (
    <span className={classes.logo}>
      <svg width="30" height="30" viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="9" className={classes.plate} />
        <path
          className={classes.trace}
          d="M6.500 20.500c3 0 3.500-9.500 6.700-9.500s3.200 10 6.200 10 2.600-5 4.600-5"
        />
        <circle className={classes.head} cx="25" cy="16" r="2.800" />
      </svg>
      <span className={classes.name}>
        retr<b>AI</b>
      </span>
    </span>
  )
}
