// Entry from exceptions and from services' calls, and the way into ring 3 and back.
//
// Every entry has a gate, so the processor is on a kernel stack with interrupts off from the first instruction on, and there
// is no SWAPGS. GS may be a service's after ring 3: it is loaded from a word that lies where the stack began, before anything
// uses it. Exceptions that can come at any time (#HV, #DB) do not use it in ring 0.
//
// A stack that the processor switches to starts below: [0] the CPU's area, [8] where a service's registers go.

.section .text.traps, "ax", @progbits
.irp vector, 8, 10, 11, 12, 13, 14, 17, 21, 29, 30
trap_\vector:
    push \vector
    .if \vector == 8
    jmp trap_own_stack
    .else
    jmp trap_common
    .endif
.endr
.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 9, 15, 16, 18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 31, 128, 129, 130, 255
trap_\vector:
    push 0
    push \vector
    .if \vector == 2 || \vector == 18
    jmp trap_own_stack
    .else
    jmp trap_common
    .endif
.endr

.macro push_registers
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    pushfq                                // ring 3 may set AC, and gates leave it; CLAC exists only with SMAP
    and dword ptr [rsp], ~(1 << 18)
    popfq
.endm

.macro pop_registers
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 16                           // vector and error code
.endm

// GS from the word where this stack began, just above a whole frame.
.macro load_gs
    mov rax, [rsp + {frame}]
    mov rdx, rax
    shr rdx, 32
    mov ecx, {gs_base}
    wrmsr
.endm

// #DF, NMI and #MC: on stacks of their own, from anywhere.
trap_own_stack:
    push_registers
    load_gs
    jmp trap_kernel

trap_common:
    push_registers
    test byte ptr [rsp + {cs}], 3
    jnz leave_service
trap_kernel:
    mov rdi, rsp
    call {handler}
    // RAX: where to go on, if not where it was. The shadow stack, if there is one, has to hear of it; what changes the frame
    // without saying so is not followed.
    test rax, rax
    jz 1f
    mov [rsp + {rip}], rax
    xor ecx, ecx
    rdsspq rcx                            // does nothing without shadow stacks
    test rcx, rcx
    jz 1f
    wrssq [rcx + 8], rax                  // previous SSP, RIP, CS
1:  pop_registers
    iretq

// RDI: a service's registers, as a frame. RSI: the doorbell page's first word, or 0. Goes on with the service; returns when
// anything interrupts it, with the frame as it was then.
//
// A #HV that came in ring 0 must not get lost, or the slice would have no end. One from before the window has left "no
// further signal" in the doorbell; one within it makes the handler go on at enter_aborted.
//
// With shadow stacks the way back is a restore token on this one, in a place that a call makes: an exception in ring 0 pushes
// below it. The processor leaves this shadow stack as it is and comes back on another, which has nothing but its token.
.global enter_service
enter_service:
    sub rsp, 8
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdi
    push qword ptr gs:[0]
    mov gs:[{rsp0}], rsp                  // a multiple of 16: the processor aligns it down
    xor eax, eax
    rdsspq rax
    test rax, rax
    jz 2f
    call 1f
    int3                                  // a call of the next instruction would leave no trace on the shadow stack
1:  add rsp, 8
    rdsspq rax
    lea rcx, [rax + 8]
    or rcx, 1                             // for 64-bit mode
    wrssq [rax], rcx
2:  mov [rsp + {token}], rax
.global enter_window_start
enter_window_start:
    test rsi, rsi
    jz 1f
    test word ptr [rsi], 0x8000
    jnz enter_aborted
1:  lea rsi, [rdi + {frame}]              // copied, since registers are popped from a stack
    mov ecx, {frame_words}
2:  sub rsi, 8
    push qword ptr [rsi]
    dec ecx
    jnz 2b
    pop_registers
    iretq
.global enter_window_end
enter_window_end:

.global enter_aborted
enter_aborted:
    mov rsp, gs:[{rsp0}]
    mov rdi, [rsp + 8]
    mov qword ptr [rdi + {vector}], {hv}
    cmp qword ptr [rsp + {token}], 0
    jne 2f
    jmp 3f

leave_service:
    load_gs
    mov rdi, [rsp + {frame} + 8]
    mov rsi, rsp
    mov ecx, {frame_words}
    rep movsq
    mov rsp, rsi
    mov rax, [rsp + {token}]
    test rax, rax
    jz 3f
    rdsspq rcx
    rstorssp dword ptr [rax]
    wrssq [rcx], rcx                      // that one's token is free for the next time
2:  mov eax, 1
    incsspq rax                           // what is left of the restore token
3:  add rsp, 16
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    add rsp, 8
    ret

.section .rodata.traps, "a", @progbits
.balign 8
.global trap_addresses
trap_addresses:
.irp vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    .quad trap_\vector
.endr
.global call_address
call_address:
    .quad trap_128
.global interrupt_addresses
interrupt_addresses:
    .quad trap_129, trap_130, trap_255
