// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls to the SVSM (58019 section 4), without anything that the kernel does not export.
 *
 * The kernel's own call is not for modules, and it repeats a call that is not complete with
 * interrupts off. What a module can have is each CPU's calling area: reading MSR_SVSM_CAA raises
 * #VC, and the kernel's handler answers it with the physical address without leaving the guest. The
 * host is asked to run VMPL0 by the GHCB MSR protocol, because the GHCB page is the kernel's.
 */
#include <linux/bits.h>
#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/ktime.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include <asm/msr.h>
#include <asm/sev.h>

#include "svsm_call.h"

/* Calls of the core protocol that asm/sev.h does not name. */
#define SVSM_CORE_QUERY_PROTOCOL	6

/* Requests in a row that an NMI may spoil before the host is said not to run the SVSM. */
#define ATTEMPTS	16

/* Microseconds between tries while the SVSM is busy: the first wait, and the longest. */
#define WAIT_FIRST	100
#define WAIT_LAST	2000

static DEFINE_PER_CPU(struct svsm_ca *, calling_area);
static enum cpuhp_state hotplug_state;

/*
 * One request to the host to run VMPL0, with the registers of a call. Returns the pending byte: 0
 * when the SVSM has taken the call, and then @args are the SVSM's; else it has not run, and they
 * are of no meaning.
 *
 * Interrupts are off. What can come in between all the same is an NMI or a machine check. Its
 * handler may raise #VC, and then it rewrites the GHCB MSR and leaves the GHCB's address in it:
 *
 * - Before VMGEXIT: the host then looks at the GHCB, which the kernel leaves invalid after each
 *   use. It reports an error there, which nobody reads, and resumes the guest. The byte is still
 *   pending, and the caller tries again.
 * - After VMGEXIT: the host's answer in the MSR is lost. It is needed only where the byte is still
 *   pending. That the SVSM has cleared it tells more than any answer of the host's: the calling
 *   area is memory that the host cannot write.
 *
 * Putting the old value back does no harm in either case: it is the GHCB's address as well. The
 * kernel writes it anew before each use.
 *
 * Nothing here may raise #VC, whose handler would do the same as such an NMI each time: rdmsr and
 * wrmsr of the GHCB MSR are never intercepted, the calling area is private, validated memory, and
 * noinstr keeps probes and tracers out.
 */
static noinstr u8 svsm_request(struct svsm_ca *ca, u64 id, struct svsm_args *args, u64 *answer)
{
	register unsigned long r8 asm("r8") = args->r8;
	register unsigned long r9 asm("r9") = args->r9;
	unsigned long rax = id, rcx = args->rcx, rdx = args->rdx;
	u64 saved = native_rdmsrq(MSR_AMD64_SEV_ES_GHCB);
	u8 pending = 0;

	native_wrmsrq(MSR_AMD64_SEV_ES_GHCB, GHCB_MSR_VMPL_REQ_LEVEL(0));
	/* Set as late as can be: a host that runs VMPL0 unasked must not find half a call. */
	asm volatile("movb $1, %[pending]\n\t"
		     "rep; vmmcall\n\t"
		     "xchgb %[taken], %[pending]"
		     : [taken] "+q" (pending), [pending] "+m" (ca->call_pending),
		       "+a" (rax), "+c" (rcx), "+d" (rdx), "+r" (r8), "+r" (r9)
		     : : "memory");
	*answer = native_rdmsrq(MSR_AMD64_SEV_ES_GHCB);
	native_wrmsrq(MSR_AMD64_SEV_ES_GHCB, saved);

	args->rcx = rcx;
	args->rdx = rdx;
	args->r8 = r8;
	args->r9 = r9;
	args->result = rax;
	return pending;
}

/* Whether the host says that it could not run VMPL0. Anything else is what an NMI left. */
static bool svsm_refused(u64 answer)
{
	return (answer & GHCB_MSR_INFO_MASK) == GHCB_MSR_VMPL_RESP &&
	       GHCB_MSR_VMPL_RESP_VAL(answer);
}

static int svsm_perform(u64 id, struct svsm_args *args, struct svsm_stats *stats)
{
	const struct svsm_args request = *args;
	unsigned int attempt;

	for (attempt = 0; attempt < ATTEMPTS; attempt++) {
		unsigned long flags;
		struct svsm_ca *ca;
		u64 answer, start, end;
		u8 pending;

		*args = request;
		local_irq_save(flags);
		ca = this_cpu_read(calling_area);
		if (!ca) {
			local_irq_restore(flags);
			return -ENODEV;
		}
		start = ktime_get_ns();
		pending = svsm_request(ca, id, args, &answer);
		end = ktime_get_ns();
		local_irq_restore(flags);

		if (!pending) {
			if (stats)
				svsm_stats_slice(stats, args->result, end - start);
			return 0;
		}
		if (stats)
			atomic64_inc(&stats->repeated);
		if (svsm_refused(answer))
			break;
	}
	*args = request;
	return -EIO;
}

/**
 * svsm_call() - one slice of a call
 * @sdev: the service
 * @call: number of the call in the service's protocol
 * @args: registers; on return the SVSM's
 *
 * The SVSM runs once, with interrupts off. SVSM_ERR_INCOMPLETE and SVSM_ERR_BUSY in @args->result
 * ask for the same call again, with the same registers and with memory unchanged.
 *
 * Context: any but NMI.
 * Return: 0 when the SVSM ran and @args->result says what came of it. -EIO when the host does not
 * run it, -ENODEV when this CPU has no calling area.
 */
int svsm_call(struct svsm_device *sdev, u32 call, struct svsm_args *args)
{
	return svsm_perform((u64)sdev->protocol << 32 | call, args, &sdev->stats);
}
EXPORT_SYMBOL_GPL(svsm_call);

/**
 * svsm_call_sliced() - a whole call, slice by slice
 * @sdev: the service
 * @call: number of the call in the service's protocol
 * @args: registers; on return the SVSM's
 * @timeout_ms: milliseconds after which the call is given up
 * @flags: SVSM_CALL_KILLABLE
 *
 * Interrupts are on between slices, and other tasks and other CPUs get their turn: the task may go
 * on with the call on another CPU. A call that is given up stays with the SVSM until it has ended
 * there; what is called next with the same buffer is BUSY until then.
 *
 * Context: process, may sleep.
 * Return: 0 on success, svsm_errno() of the SVSM's result, -ETIMEDOUT, -EINTR, or an error of
 * svsm_call().
 */
int svsm_call_sliced(struct svsm_device *sdev, u32 call, struct svsm_args *args,
		     unsigned int timeout_ms, unsigned int flags)
{
	const struct svsm_args request = *args;
	const u64 start = ktime_get_ns();
	const u64 deadline = start + (u64)timeout_ms * NSEC_PER_MSEC;
	unsigned int wait = WAIT_FIRST;

	might_sleep();
	for (;;) {
		int ret;

		*args = request;
		ret = svsm_call(sdev, call, args);
		if (ret)
			return ret;
		switch (args->result) {
		case SVSM_ERR_INCOMPLETE:
			wait = WAIT_FIRST;
			cond_resched();
			break;
		case SVSM_ERR_BUSY:
			usleep_range(wait, 2 * wait);
			wait = min(2 * wait, WAIT_LAST);
			break;
		default:
			svsm_stats_call(&sdev->stats, ktime_get_ns() - start);
			return svsm_errno(args->result);
		}
		if ((flags & SVSM_CALL_KILLABLE) && fatal_signal_pending(current))
			return -EINTR;
		if (ktime_get_ns() >= deadline)
			return -ETIMEDOUT;
	}
}
EXPORT_SYMBOL_GPL(svsm_call_sliced);

/**
 * svsm_errno() - a result code as the kernel's other interfaces say it
 * @result: what the SVSM returned in RAX
 *
 * Return: 0 or a negative error.
 */
int svsm_errno(u64 result)
{
	switch (result) {
	case SVSM_SUCCESS:
		return 0;
	case SVSM_ERR_INCOMPLETE:
		return -EINPROGRESS;
	case SVSM_ERR_UNSUPPORTED_PROTOCOL:
		return -ENODEV;
	case SVSM_ERR_UNSUPPORTED_CALL:
		return -EOPNOTSUPP;
	case SVSM_ERR_INVALID_ADDRESS:
		return -EFAULT;
	case SVSM_ERR_INVALID_FORMAT:
		return -EBADMSG;
	case SVSM_ERR_INVALID_PARAMETER:
		return -EINVAL;
	case SVSM_ERR_INVALID_REQUEST:
		return -EPERM;
	case SVSM_ERR_BUSY:
		return -EBUSY;
	default: /* a protocol's own codes, which its driver knows */
		return -EREMOTEIO;
	}
}
EXPORT_SYMBOL_GPL(svsm_errno);

/* Versions of a protocol that the SVSM has; -ENODEV if none that the bus knows. */
int svsm_query_protocol(u32 protocol, u32 *min, u32 *max)
{
	struct svsm_args args = { .rcx = (u64)protocol << 32 | 1 };
	int ret = svsm_perform(SVSM_CORE_CALL(SVSM_CORE_QUERY_PROTOCOL), &args, NULL);

	if (ret)
		return ret;
	if (args.result != SVSM_SUCCESS)
		return svsm_errno(args.result);
	*min = lower_32_bits(args.rcx);
	*max = upper_32_bits(args.rcx);
	return args.rcx ? 0 : -ENODEV;
}

/*
 * Once per CPU, on that CPU. The kernel never changes a CPU's area, so it is not read again for
 * each call, which would be one #VC each. Areas are RAM of the kernel's (the first CPU's is part of
 * its image), where this is the direct map; should one lie elsewhere it is mapped, encrypted.
 */
static int svsm_cpu_online(unsigned int cpu)
{
	struct svsm_ca *ca;
	u64 address;

	if (this_cpu_read(calling_area))
		return 0;
	if (rdmsrq_safe(MSR_SVSM_CAA, &address) || !address || !IS_ALIGNED(address, PAGE_SIZE)) {
		pr_err("svsm: CPU %u has no calling area\n", cpu);
		return -ENODEV;
	}
	ca = memremap(address, PAGE_SIZE, MEMREMAP_WB | MEMREMAP_ENC);
	if (!ca)
		return -ENOMEM;
	this_cpu_write(calling_area, ca);
	return 0;
}

int svsm_call_init(void)
{
	int state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "svsm:online", svsm_cpu_online, NULL);

	if (state < 0) {
		svsm_call_exit();
		return state;
	}
	hotplug_state = state;
	return 0;
}

void svsm_call_exit(void)
{
	unsigned int cpu;

	if (hotplug_state)
		cpuhp_remove_state(hotplug_state);
	for_each_possible_cpu(cpu) {
		if (per_cpu(calling_area, cpu))
			memunmap(per_cpu(calling_area, cpu));
	}
}
