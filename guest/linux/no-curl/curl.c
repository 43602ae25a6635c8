// SPDX-License-Identifier: MIT OR Apache-2.0
// The part of libcurl that tpm2-tools names, without what it does: one of its commands fetches certificates from the
// network, which the guest has not got, and the real library brings eleven megabytes of others with it.

void *curl_easy_init(void) { return 0; }
void curl_easy_cleanup(void *handle) { (void)handle; }
int curl_easy_setopt(void *handle, int option, ...) { (void)handle; (void)option; return 2; }
int curl_easy_perform(void *handle) { (void)handle; return 2; }
const char *curl_easy_strerror(int code) { (void)code; return "no network"; }
char *curl_easy_escape(void *handle, const char *text, int length) { (void)handle; (void)text; (void)length; return 0; }
char *curl_easy_unescape(void *handle, const char *text, int length, int *out)
{
	(void)handle; (void)text; (void)length; (void)out;
	return 0;
}
void curl_free(void *memory) { (void)memory; }
int curl_global_init(long flags) { (void)flags; return 2; }
void curl_global_cleanup(void) {}
